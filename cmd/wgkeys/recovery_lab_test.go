package main

import (
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// TestLabRecoverLostLaptop is the drill of doc/recovery.md, all of it: bob's laptop is gone,
// and on it his identity and a clone. In the end nothing that he could ever read is
// of use, while both hosts have kept their tunnel.
func TestLabRecoverLostLaptop(t *testing.T) {
	t.Parallel()
	u := newUsers(t)
	u.withBob()
	stolen := u.bobReads()
	if len(stolen) != 3 {
		t.Fatalf("bob could read %d secrets, and there are 3", len(stolen))
	}
	keys := map[*lab.Host]string{u.Basalt: u.key(u.Basalt), u.Shale: u.key(u.Shale)}

	// He is taken out of the list.
	u.must(u.Basalt, `sed -i '/^# bob$/,$d' vault/recipients.txt && git commit -q -a -m "bob leaves"`)
	u.must(u.Basalt, "wgkeys rekey --commit")
	u.committed("vault/basalt/wg0.key.age", "vault/basalt/wg0.shale.psk.age", "vault/shale/wg0.basalt.psk.age", "vault/shale/wg0.key.age")
	r := u.run(u.Basalt, "wgkeys check --leaver bob")
	for _, want := range []string{`private key of host "basalt"`, `private key of host "shale"`, `preshared key of hosts "basalt" and "shale"`} {
		if r.code != ui.ExitFindings || strings.Count(r.stdout, want) != 1 {
			t.Errorf("check --leaver: exit %d, and not once %q\n%s%s", r.code, want, r.stdout, r.stderr)
		}
	}

	// What he could read is replaced.
	r = u.run(u.Basalt, "wgkeys rotate -y --leaver bob --commit")
	if r.code != ui.ExitDone || !strings.Contains(r.stdout, "basalt wg0 preshared key with shale") {
		t.Fatalf("rotate: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	u.committed("keyring/basalt/wg0.pub", "keyring/shale/wg0.pub", "vault/basalt/wg0.key.age", "vault/basalt/wg0.shale.psk.age", "vault/shale/wg0.basalt.psk.age", "vault/shale/wg0.key.age")
	u.reachable(true, "after the rotation")
	if r := u.run(u.Basalt, "wgkeys check --leaver bob"); r.code != ui.ExitDone || !strings.Contains(r.stderr, "nothing found") {
		t.Errorf("check --leaver: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := u.run(u.Basalt, "wgkeys rotate -y --leaver bob"); r.code != ui.ExitDone || !strings.Contains(r.stderr, "nothing to do") {
		t.Errorf("rotate again: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}

	// He has all that was ever committed, and nothing of it is in use.
	now := u.inUse()
	for _, secret := range u.bobReads() {
		if slices.Contains(now, secret) {
			t.Error("bob can read a key that is in use")
		}
	}
	for _, h := range []*lab.Host{u.Basalt, u.Shale} {
		u.refused(h, keys[h])
	}
}

// withBob gives bob the vault, and commits it. A clone of it is on his laptop.
func (u *users) withBob() {
	u.t.Helper()
	u.tunnel("psk = true\n" + demo.FirstTunnel)
	u.must(u.Basalt, `git config --global user.name alice && git config --global user.email alice@example.net
		age-keygen -o /root/bob.txt 2>/dev/null && { echo; echo "# bob"; age-keygen -y /root/bob.txt; } >>vault/recipients.txt
		wgkeys gen basalt && wgkeys rekey && wgkeys push basalt shale && wgkeys apply basalt && wgkeys apply shale
		git init -q -b main && git add -A && git commit -q -m start && git clone -q . /root/laptop`)
	u.reachable(true, "to begin with")
}

// bobReads are all secrets that bob's identity opens in all of the history, which
// he can fetch.
func (u *users) bobReads() []string {
	u.t.Helper()
	out := u.must(u.Basalt, `cd /root/laptop && git pull -q && git rev-list --all --objects -- vault | while read object path; do
		case $path in *.age) git cat-file blob $object | age -d -i /root/bob.txt 2>/dev/null;; esac; done; true`)
	all := strings.Fields(out)
	slices.Sort(all)
	return slices.Compact(all)
}

// inUse are the secrets on the hosts.
func (u *users) inUse() []string {
	u.t.Helper()
	var all []string
	for _, h := range []*lab.Host{u.Basalt, u.Shale} {
		all = append(all, strings.Fields(u.must(h, "cat /etc/wireguard/*.key /etc/wireguard/*.psk"))...)
	}
	if len(all) != 4 {
		u.t.Fatalf("there are %d secrets on the hosts", len(all))
	}
	return all
}

// committed fails where the last commit has other files than these, or something
// was left out.
func (u *users) committed(files ...string) {
	u.t.Helper()
	if got := strings.Fields(u.must(u.Basalt, "git show --format= --name-only --no-renames | sort")); !slices.Equal(got, files) {
		u.t.Errorf("the commit has %q, want %q", got, files)
	}
	if left := u.must(u.Basalt, "git status --porcelain"); left != "" {
		u.t.Errorf("not committed:\n%s", left)
	}
}

// reachable fails where shale answers through the tunnel, or does not.
func (u *users) reachable(want bool, when string) {
	u.t.Helper()
	limit := map[bool]string{true: "20", false: "3"}[want]
	if r := u.run(u.Basalt, "ping -6 -n -q -c 1 -w "+limit+" 2001:db8:ffff::1"); (r.code == 0) != want {
		u.t.Errorf("%s shale is reached: %v, want %v", when, r.code == 0, want)
	}
}

// refused has a host use the key that was stolen, as whoever has it would: the
// other end does not answer. Then it takes its own again.
func (u *users) refused(h *lab.Host, stolen string) {
	u.t.Helper()
	set := func(key string) { u.must(h, "wg set wg0 private-key /dev/stdin <<'END'\n"+key+"\nEND") }
	own := u.key(h)
	u.must(u.Basalt, "wgkeys down basalt && wgkeys apply basalt") // without a session
	u.must(u.Basalt, "wgkeys down shale && wgkeys apply shale")
	set(stolen)
	u.reachable(false, "with the stolen key of "+h.Name())
	set(own)
	u.reachable(true, "again with its own key of "+h.Name())
	u.must(u.Basalt, "wgkeys apply "+h.Name())
}
