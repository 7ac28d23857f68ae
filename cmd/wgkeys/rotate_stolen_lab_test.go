package main

import (
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// takesNot: a host takes none of the keys.
func takesNot(u *labtest.Users, h *lab.Host, keys ...string) {
	u.Helper()
	peers := u.Must(h, "wg show wg0 peers")
	for _, key := range keys {
		if key == "" || strings.Contains(peers, key) {
			u.Errorf("%s still takes the key %q: %s", h.Name(), key, peers)
		}
	}
}

// settledWithout waits until a host has left the stolen key, and sees that all is whole.
func settledWithout(u *labtest.Users, t *testing.T, h *lab.Host, stolen string) {
	t.Helper()
	u.Until("the stolen key to be gone",
		func() bool { return u.Run(h, "wg show wg0 public-key | grep -q "+stolen).Code != 0 })
	u.Must(u.Basalt, "wgkeys apply basalt && wgkeys apply shale; ping -c 1 -w 10 2001:db8:ffff::1 >/dev/null || true")
	tunnelIsWhole(u, t)
}

// rotationStolenTwice: a peer could not be reached. The stolen key is not forgotten, and
// the same command has the peer refuse it later.
func rotationStolenTwice(t *testing.T, u *labtest.Users) {
	stolen := publicKeyOf(u, "basalt")
	u.Must(u.Shale, "mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone")
	r := u.Run(u.Basalt, "wgkeys rotate -y --now basalt")
	u.Must(u.Shale, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	for _, want := range []string{`the stolen key of basalt is still accepted by peer "shale"`, "wg set wg0 peer " +
		stolen + " remove", "wgkeys rotate --now basalt"} {
		if r.Code == 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("exit %d, want %q\n%s%s", r.Code, want, r.Stdout, r.Stderr)
		}
	}
	if publicKeyOf(u, "basalt") != stolen {
		t.Error("the repository has forgotten which key was stolen")
	}
	u.Must(u.Basalt, "wgkeys rotate -y --now basalt")
	takesNot(u, u.Shale, stolen)
	settledWithout(u, t, u.Basalt, stolen)
}

// rotationStolenHangs: whoever stole the key has the host, which says nothing.
func rotationStolenHangs(t *testing.T, u *labtest.Users) {
	stolen := publicKeyOf(u, "shale")
	u.Must(u.Shale, `mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone && printf '#!/bin/sh\nexec sleep 100\n' >/usr/local/bin/wgkeys && chmod 755 /usr/local/bin/wgkeys`)
	r := u.Run(u.Basalt, "timeout 60 wgkeys rotate -y --now shale")
	u.Must(u.Shale, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "basalt refuses the old key") ||
		!strings.Contains(r.Stderr, `the next key is not in use on host "shale"`) {
		t.Errorf("exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	takesNot(u, u.Basalt, stolen)
	u.Must(u.Basalt, "wgkeys push --unknown shale && wgkeys apply shale")
	settledWithout(u, t, u.Shale, stolen)
}

// rotationStolenPlanted: beside the stolen key of a host that makes its keys itself lies
// a next key of which the repository knows nothing. It may be that of whoever stole the old one.
func rotationStolenPlanted(t *testing.T, u *labtest.Users) {
	u.Must(u.Basalt, "wgkeys rotate -y --on-host shale")
	stolen := publicKeyOf(u, "shale")
	rotateKilledAt(u, "before controller: write the next public key", "wgkeys rotate -y shale")
	planted := strings.TrimSpace(u.Must(u.Shale, "wg pubkey </etc/wireguard/wg0.next.key"))
	u.Must(u.Basalt, "wgkeys rotate -y --now shale")
	takesNot(u, u.Basalt, stolen, planted)
	if now := publicKeyOf(u, "shale"); now == planted || now == stolen {
		t.Errorf("the new key is %s, which may be stolen", now)
	}
	backInVault(u, "shale")
	settledWithout(u, t, u.Shale, stolen)
}

// backInVault gives a host that has made its key itself one from the vault.
func backInVault(u *labtest.Users, host string) {
	u.Helper()
	u.Must(u.Basalt, "wgkeys down basalt; wgkeys down "+host+"; rm keyring/"+host+"/wg0.pub && wgkeys gen "+host+
		" && wgkeys push --unknown "+host+" && wgkeys apply "+host+" && wgkeys apply basalt")
}

// rotationStolenPending: the next key of such a host is known, and may be stolen with
// the other; the host cannot be reached for a third one.
func rotationStolenPending(t *testing.T, u *labtest.Users) {
	u.Must(u.Basalt, "wgkeys rotate -y --on-host shale")
	stolen := publicKeyOf(u, "shale")
	rotateKilledAt(u, "after controller: write the next public key", "wgkeys rotate -y shale")
	pending := strings.TrimSpace(u.Must(u.Shale, "wg pubkey </etc/wireguard/wg0.next.key"))
	u.Must(u.Shale, "mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone")
	r := u.Run(u.Basalt, "wgkeys rotate -y --now shale")
	u.Must(u.Shale, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	if r.Code == 0 || !strings.Contains(r.Stderr, "there is no other key for it yet") {
		t.Errorf("exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	takesNot(u, u.Basalt, stolen, pending)
	r = u.Run(u.Basalt, "wgkeys rotate -y --now shale")
	for _, want := range []string{`the old key of shale is refused, but its next key is not accepted, by peer "basalt"`,
		"hint: wgkeys apply basalt"} {
		if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, want) {
			t.Errorf("exit %d, want %q\n%s%s", r.Code, want, r.Stdout, r.Stderr)
		}
	}
	u.Must(u.Basalt, "wgkeys apply basalt")
	takesNot(u, u.Basalt, stolen, pending)
	if now := publicKeyOf(u, "shale"); now == stolen || now == pending {
		t.Errorf("the new key is %s, which may be stolen", now)
	}
	backInVault(u, "shale")
	settledWithout(u, t, u.Shale, pending)
}

// rotationStolen: the old key is refused at once.
func rotationStolen(t *testing.T, u *labtest.Users) {
	old := publicKeyOf(u, "basalt")
	u.Must(u.Basalt, "wgkeys rotate -y --now basalt")
	takesNot(u, u.Shale, old)
	deadline := time.Now().Add(labtest.Patience)
	for u.Run(u.Basalt, "wg show wg0 public-key | grep -q "+old).Code == 0 && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
	}
	u.Must(u.Basalt, "ping -c 1 -w 10 2001:db8:ffff::1 >/dev/null || true")
	tunnelIsWhole(u, t)
}

// rotationStolenWithoutHost: the host that makes its keys itself is out of reach,
// and its peers refuse the stolen key all the same.
func rotationStolenWithoutHost(t *testing.T, u *labtest.Users) {
	old := publicKeyOf(u, "shale")
	u.Must(u.Shale, "mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone")
	r := u.Run(u.Basalt, "wgkeys rotate -y --now --on-host shale")
	u.Must(u.Shale, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "there is no other key for it yet") ||
		!strings.Contains(r.Stderr, "basalt refuses the old key") {
		t.Errorf("exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	takesNot(u, u.Basalt, old)
	if !strings.Contains(r.Stderr, "until it is replaced or removed there, an apply on a peer is refused") {
		t.Errorf("it is not told what comes of it:\n%s", r.Stderr)
	}
	const boot = "ip link delete wg0; rm -rf /run/wgkeys; ip -6 rule del table 51820; ip -6 rule del priority 32763; ip -6 rule del priority 32765; " +
		"ip -6 route flush table 51820; nft delete table inet wgkeys-wg0; "
	u.Must(u.Basalt, boot+"wgkeys apply -q --view /etc/wgkeys/wg0.view")
	takesNot(u, u.Basalt, old)
	keyStaysGone(u, "wgkeys apply basalt", `will not accept the revoked key of host "shale"`, "none")
	u.Run(u.Basalt, "wgkeys rotate -y --now shale") // basalt has neither key, and is named
	u.Must(u.Basalt, "wgkeys apply basalt")
	settledWithout(u, t, u.Shale, old)
	tunnelIsWhole(u, t)
}

// A rotation was interrupted, so a next key lay beside the stolen one, and one of two
// peers cannot be reached. The other takes neither key meanwhile, and the repository
// forgets none.
func TestLabRotateTwoStolenKeys(t *testing.T) {
	t.Parallel()
	m := newMesh(t, labtest.MeshOptions{Hosts: 3})
	here, host, far := m.Hosts[0], m.Hosts[1], m.Hosts[2]
	stolen, secret := keysOf(m, host)
	rotateKilledAt(m.Users, "after controller: write the next public key", "wgkeys rotate -y "+host.Name())
	next := strings.TrimSpace(m.Read(here, "/root/net/keyring/"+host.Name()+"/wg0.next.pub"))

	m.Must(far, "mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone")
	r := m.Run(here, "wgkeys rotate -y --now "+host.Name())
	m.Must(far, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	for _, want := range []string{"is still accepted by peer \"" + far.Name(),
		"its next key was kept beside the stolen one", "with --skip PEER"} {
		if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, want) {
			t.Errorf("exit %d, want %q\n%s%s", r.Code, want, r.Stdout, r.Stderr)
		}
	}
	takesNot(m.Users, here, stolen, next)
	if publicKeyOf(m.Users, host.Name()) != stolen ||
		strings.TrimSpace(m.Read(here, "/root/net/keyring/"+host.Name()+"/wg0.next.pub")) != next {
		t.Error("the repository has forgotten a key that may be stolen")
	}

	r = m.Run(here, "wgkeys rotate -y --now "+host.Name())
	if want := "hint: wgkeys apply " + here.Name(); r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, want) {
		t.Errorf("exit %d, want %q\n%s%s", r.Code, want, r.Stdout, r.Stderr)
	}
	m.Must(here, "wgkeys apply "+here.Name())
	takesNot(m.Users, here, stolen, next)
	takesNot(m.Users, far, stolen, next)
	if now := publicKeyOf(m.Users, host.Name()); now == stolen || now == next {
		t.Errorf("the new key is %s, which may be stolen", now)
	}
	nothingToDo(m, here)
	nothingToDo(m, far)
	nothingLeft(m, map[string]bool{secret: true})
}

// The same command again, while a peer is still out of reach: the others keep the next
// key, which nobody can have stolen with the old one.
func TestLabRotateStolenKeyAgain(t *testing.T) {
	t.Parallel()
	m := newMesh(t, labtest.MeshOptions{Hosts: 3})
	here, host, far := m.Hosts[0], m.Hosts[1], m.Hosts[2]
	stolen, secret := keysOf(m, host)
	m.Must(far, "mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone")
	for range 2 {
		if r := m.Run(here, "wgkeys rotate -y --now "+host.Name()); r.Code != ui.ExitFailed ||
			strings.Contains(r.Stderr, "no peer that could be reached accepts a key") {
			t.Errorf("exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
		}
		takesNot(m.Users, here, stolen)
		if next := strings.TrimSpace(m.Read(here,
			"/root/net/keyring/"+host.Name()+"/wg0.next.pub")); !strings.Contains(m.Must(here, "wg show wg0 peers"), next) {
			t.Error("the next key is not taken")
		}
	}
	m.Must(far, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	m.Must(here, "wgkeys rotate -y --now "+host.Name())
	takesNot(m.Users, far, stolen)
	nothingLeft(m, map[string]bool{secret: true})
}

// keyStaysGone: the command fails, says so, and no host has taken key.
func keyStaysGone(u *labtest.Users, command, says, key string) {
	u.Helper()
	r := u.Run(u.Basalt, command)
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, says) {
		u.Errorf("%s: exit %d, want %q\n%s%s", command, r.Code, says, r.Stdout, r.Stderr)
	}
	if strings.Contains(u.Must(u.Basalt, "wg show wg0 peers")+u.Must(u.Shale, "wg show wg0"), key) {
		u.Errorf("%s: the key that was replaced is back", command)
	}
}

// rotationBehindApply: no verb from a clone that is behind brings a key back, neither on
// its host nor at a peer.
func rotationBehindApply(t *testing.T, u *labtest.Users) {
	old := publicKeyOf(u, "shale")
	u.Must(u.Basalt, "cp -a /root/net /root/behind && wgkeys rotate -y shale")
	const older, git = `the view is older than this machine: it has an old key of host "shale"`,
		"git pull, then wgkeys apply "
	for _, host := range []string{"basalt", "shale"} {
		keyStaysGone(u, "wgkeys plan -C /root/behind "+host, older, old)
		keyStaysGone(u, "wgkeys apply -C /root/behind "+host, git+host, old)
		keyStaysGone(u, "wgkeys apply --confirm 20s -C /root/behind "+host, older, old)
	}
	keyStaysGone(u, "wgkeys push -C /root/behind shale", "the repository may be behind", old)
	r := u.Run(u.Basalt, "wgkeys status -C /root/behind")
	if r.Code != ui.ExitFindings || !strings.Contains(r.Stdout, "git pull") || strings.Contains(r.Stdout, "wgkeys push") {
		t.Errorf("status: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	tunnelIsWhole(u, t)

	// Keys that no rotate has replaced: the applies did.
	u.Must(u.Basalt, "rm -r /root/behind && cp -a /root/net /root/behind")
	old = publicKeyOf(u, "shale")
	u.Must(u.Basalt, "rm keyring/shale/wg0.pub vault/shale/wg0.key.age && wgkeys gen shale && wgkeys push --unknown shale && wgkeys apply shale && wgkeys apply basalt")
	keyStaysGone(u, "wgkeys apply -C /root/behind basalt", older, old)
	keyStaysGone(u, "wgkeys push -C /root/behind shale", "the repository may be behind", old)

	// Who knows better says so.
	u.Must(u.Basalt, "wgkeys push --unknown -C /root/behind shale && wgkeys apply --unknown -C /root/behind shale && wgkeys apply --unknown -C /root/behind basalt")
	u.Must(u.Basalt, "cd / && rm -r /root/net && mv /root/behind /root/net && cd /root/net && wgkeys apply shale && wgkeys apply basalt")
	tunnelIsWhole(u, t)
}

// rotationBehindStolen: nothing brings a stolen key back, whoever says so, nor a boot.
func rotationBehindStolen(t *testing.T, u *labtest.Users) {
	stolen := publicKeyOf(u, "shale")
	u.Must(u.Basalt, "cp -a /root/net /root/behind && cp /etc/wgkeys/wg0.view /root/kept && wgkeys rotate --now -y shale")
	settledWithout(u, t, u.Shale, stolen)
	for _, command := range []string{"apply", "apply --unknown", "plan"} {
		keyStaysGone(u, "wgkeys "+command+" -C /root/behind basalt", `will not accept the revoked key of host "shale"`,
			stolen)
	}
	now := publicKeyOf(u, "shale")
	keyStaysGone(u, "wgkeys rotate -y --now -C /root/behind shale",
		`this repository does not know the key in use on host "shale"`, stolen)
	if peers := u.Must(u.Basalt, "wg show wg0 peers"); !strings.Contains(peers, now) {
		t.Error("the key that is in use is not taken any more")
	}
	u.Must(u.Basalt, "rm -r /root/behind; wgkeys apply basalt; wgkeys push --unknown shale; wgkeys apply --unknown shale; cp /root/kept /etc/wgkeys/wg0.view && wgkeys apply --kept")
	if peers := u.Must(u.Basalt, "wg show wg0 peers"); strings.Contains(peers, stolen) {
		t.Error("the view of before has brought the stolen key back")
	}
	u.Must(u.Basalt, "wgkeys apply basalt && wgkeys apply shale")
	tunnelIsWhole(u, t)
}
