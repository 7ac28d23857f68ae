package main

import (
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// takesNot: a host takes none of the keys.
func (u *users) takesNot(h *lab.Host, keys ...string) {
	u.t.Helper()
	peers := u.must(h, "wg show wg0 peers")
	for _, key := range keys {
		if key == "" || strings.Contains(peers, key) {
			u.t.Errorf("%s still takes the key %q: %s", h.Name(), key, peers)
		}
	}
}

// settled waits until a host has left the stolen key, and sees that all is whole.
func (u *users) settled(t *testing.T, h *lab.Host, stolen string) {
	t.Helper()
	u.until("the stolen key to be gone", func() bool { return u.run(h, "wg show wg0 public-key | grep -q "+stolen).code != 0 })
	u.must(u.Basalt, "wgkeys apply basalt && wgkeys apply shale; ping -c 1 -w 10 2001:db8:ffff::1 >/dev/null || true")
	u.whole(t)
}

// rotationStolenTwice: a peer could not be reached. The stolen key is not forgotten, and
// the same command has the peer refuse it later.
func rotationStolenTwice(t *testing.T, u *users) {
	stolen := u.pub("basalt")
	u.must(u.Shale, "mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone")
	r := u.run(u.Basalt, "wgkeys rotate -y --now basalt")
	u.must(u.Shale, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	for _, want := range []string{`the stolen key of basalt is still accepted by peer "shale"`, "wg set wg0 peer " + stolen + " remove", "wgkeys rotate --now basalt"} {
		if r.code == 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("exit %d, want %q\n%s%s", r.code, want, r.stdout, r.stderr)
		}
	}
	if u.pub("basalt") != stolen {
		t.Error("the repository has forgotten which key was stolen")
	}
	u.must(u.Basalt, "wgkeys rotate -y --now basalt")
	u.takesNot(u.Shale, stolen)
	u.settled(t, u.Basalt, stolen)
}

// rotationStolenHangs: whoever stole the key has the host, which says nothing.
func rotationStolenHangs(t *testing.T, u *users) {
	stolen := u.pub("shale")
	u.must(u.Shale, `mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone && printf '#!/bin/sh\nexec sleep 100\n' >/usr/local/bin/wgkeys && chmod 755 /usr/local/bin/wgkeys`)
	r := u.run(u.Basalt, "timeout 60 wgkeys rotate -y --now shale")
	u.must(u.Shale, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	if r.code != ui.ExitFailed || !strings.Contains(r.stderr, "basalt refuses the old key") || !strings.Contains(r.stderr, `the next key is not in use on host "shale"`) {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	u.takesNot(u.Basalt, stolen)
	u.must(u.Basalt, "wgkeys push --unknown shale && wgkeys apply shale")
	u.settled(t, u.Shale, stolen)
}

// rotationStolenPlanted: beside the stolen key of a host that makes its keys itself lies
// a next key of which the repository knows nothing. It may be the thief's.
func rotationStolenPlanted(t *testing.T, u *users) {
	u.must(u.Basalt, "wgkeys rotate -y --on-host shale")
	stolen := u.pub("shale")
	u.killedAt("before controller: write the next public key", "wgkeys rotate -y shale")
	planted := strings.TrimSpace(u.must(u.Shale, "wg pubkey </etc/wireguard/wg0.next.key"))
	u.must(u.Basalt, "wgkeys rotate -y --now shale")
	u.takesNot(u.Basalt, stolen, planted)
	if now := u.pub("shale"); now == planted || now == stolen {
		t.Errorf("the new key is %s, which may be stolen", now)
	}
	u.backInVault("shale")
	u.settled(t, u.Shale, stolen)
}

// backInVault gives a host that has made its key itself one from the vault.
func (u *users) backInVault(host string) {
	u.t.Helper()
	u.must(u.Basalt, "wgkeys down basalt; wgkeys down "+host+"; rm keyring/"+host+"/wg0.pub && wgkeys gen "+host+" && wgkeys push --unknown "+host+" && wgkeys apply "+host+" && wgkeys apply basalt")
}

// rotationStolenPending: the next key of such a host is known, and may be stolen with
// the other; the host cannot be reached for a third one.
func rotationStolenPending(t *testing.T, u *users) {
	u.must(u.Basalt, "wgkeys rotate -y --on-host shale")
	stolen := u.pub("shale")
	u.killedAt("after controller: write the next public key", "wgkeys rotate -y shale")
	pending := strings.TrimSpace(u.must(u.Shale, "wg pubkey </etc/wireguard/wg0.next.key"))
	u.must(u.Shale, "mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone")
	r := u.run(u.Basalt, "wgkeys rotate -y --now shale")
	u.must(u.Shale, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	if r.code == 0 || !strings.Contains(r.stderr, "there is no other key for it yet") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	u.takesNot(u.Basalt, stolen, pending)
	r = u.run(u.Basalt, "wgkeys rotate -y --now shale")
	for _, want := range []string{`the old key is refused, and the next key of shale not taken by peer "basalt"`, "hint: wgkeys apply basalt"} {
		if r.code != ui.ExitFailed || !strings.Contains(r.stderr, want) {
			t.Errorf("exit %d, want %q\n%s%s", r.code, want, r.stdout, r.stderr)
		}
	}
	u.must(u.Basalt, "wgkeys apply basalt")
	u.takesNot(u.Basalt, stolen, pending)
	if now := u.pub("shale"); now == stolen || now == pending {
		t.Errorf("the new key is %s, which may be stolen", now)
	}
	u.backInVault("shale")
	u.settled(t, u.Shale, pending)
}

// rotationStolen: the old key is refused at once.
func rotationStolen(t *testing.T, u *users) {
	old := u.pub("basalt")
	u.must(u.Basalt, "wgkeys rotate -y --now basalt")
	u.takesNot(u.Shale, old)
	deadline := time.Now().Add(patience)
	for u.run(u.Basalt, "wg show wg0 public-key | grep -q "+old).code == 0 && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
	}
	u.must(u.Basalt, "ping -c 1 -w 10 2001:db8:ffff::1 >/dev/null || true")
	u.whole(t)
}

// rotationStolenWithoutHost: the host that makes its keys itself is out of reach,
// and its peers refuse the stolen key all the same.
func rotationStolenWithoutHost(t *testing.T, u *users) {
	old := u.pub("shale")
	u.must(u.Shale, "mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone")
	r := u.run(u.Basalt, "wgkeys rotate -y --now --on-host shale")
	u.must(u.Shale, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	if r.code != ui.ExitFailed || !strings.Contains(r.stderr, "there is no other key for it yet") || !strings.Contains(r.stderr, "basalt refuses the old key") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	u.takesNot(u.Basalt, old)
	if !strings.Contains(r.stderr, "as long as it has an apply on a peer is refused") {
		t.Errorf("it is not told what comes of it:\n%s", r.stderr)
	}
	const boot = "ip link delete wg0; rm -rf /run/wgkeys; ip -6 rule del table 51820; ip -6 rule del priority 32763; ip -6 rule del priority 32765; " +
		"ip -6 route flush table 51820; nft delete table inet wgkeys-wg0; "
	u.must(u.Basalt, boot+"wgkeys apply -q --view /etc/wgkeys/wg0.view")
	u.takesNot(u.Basalt, old)
	u.stays("wgkeys apply basalt", `will not take the key that was revoked of host "shale"`, "none")
	u.run(u.Basalt, "wgkeys rotate -y --now shale") // basalt has neither key, and is named
	u.must(u.Basalt, "wgkeys apply basalt")
	u.settled(t, u.Shale, old)
	u.whole(t)
}

// A rotation was interrupted, so a next key lay beside the stolen one, and one of two
// peers cannot be reached. The other takes neither key meanwhile, and the repository
// forgets none.
func TestLabRotateTwoStolenKeys(t *testing.T) {
	t.Parallel()
	m := newMesh(t, meshOptions{hosts: 3})
	here, host, far := m.hosts[0], m.hosts[1], m.hosts[2]
	stolen, secret := m.keys(host)
	m.killedAt("after controller: write the next public key", "wgkeys rotate -y "+host.Name())
	next := strings.TrimSpace(m.read(here, "/root/net/keyring/"+host.Name()+"/wg0.next.pub"))

	m.must(far, "mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone")
	r := m.run(here, "wgkeys rotate -y --now "+host.Name())
	m.must(far, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	for _, want := range []string{"is still accepted by peer \"" + far.Name(), "its next key has waited beside the stolen one", "with --skip PEER"} {
		if r.code != ui.ExitFailed || !strings.Contains(r.stderr, want) {
			t.Errorf("exit %d, want %q\n%s%s", r.code, want, r.stdout, r.stderr)
		}
	}
	m.takesNot(here, stolen, next)
	if m.pub(host.Name()) != stolen || strings.TrimSpace(m.read(here, "/root/net/keyring/"+host.Name()+"/wg0.next.pub")) != next {
		t.Error("the repository has forgotten a key that may be stolen")
	}

	r = m.run(here, "wgkeys rotate -y --now "+host.Name())
	if want := "hint: wgkeys apply " + here.Name(); r.code != ui.ExitFailed || !strings.Contains(r.stderr, want) {
		t.Errorf("exit %d, want %q\n%s%s", r.code, want, r.stdout, r.stderr)
	}
	m.must(here, "wgkeys apply "+here.Name())
	m.takesNot(here, stolen, next)
	m.takesNot(far, stolen, next)
	if now := m.pub(host.Name()); now == stolen || now == next {
		t.Errorf("the new key is %s, which may be stolen", now)
	}
	m.nothingToDo(here)
	m.nothingToDo(far)
	m.nothingLeft(map[string]bool{secret: true})
}

// The same command again, while a peer is still out of reach: the others keep the next
// key, which nobody can have stolen with the old one.
func TestLabRotateStolenKeyAgain(t *testing.T) {
	t.Parallel()
	m := newMesh(t, meshOptions{hosts: 3})
	here, host, far := m.hosts[0], m.hosts[1], m.hosts[2]
	stolen, secret := m.keys(host)
	m.must(far, "mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone")
	for range 2 {
		if r := m.run(here, "wgkeys rotate -y --now "+host.Name()); r.code != ui.ExitFailed || strings.Contains(r.stderr, "no key is taken any more") {
			t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		m.takesNot(here, stolen)
		if next := strings.TrimSpace(m.read(here, "/root/net/keyring/"+host.Name()+"/wg0.next.pub")); !strings.Contains(m.must(here, "wg show wg0 peers"), next) {
			t.Error("the next key is not taken")
		}
	}
	m.must(far, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	m.must(here, "wgkeys rotate -y --now "+host.Name())
	m.takesNot(far, stolen)
	m.nothingLeft(map[string]bool{secret: true})
}
