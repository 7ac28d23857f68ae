package main

import (
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// TestLabRecoverLostLaptop is the drill of doc/recovery.md, all of it: bob's laptop is gone,
// and on it his identity and a clone. In the end nothing that he could ever read is
// of use, while both hosts have kept their tunnel.
func TestLabRecoverLostLaptop(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	withBob(u)
	stolen := bobReads(u)
	if len(stolen) != 3 {
		t.Fatalf("bob could read %d secrets, and there are 3", len(stolen))
	}
	keys := map[*lab.Host]string{u.Basalt: keyOn(u, u.Basalt), u.Shale: keyOn(u, u.Shale)}

	// He is taken out of the list.
	u.Must(u.Basalt, `sed -i '/^# bob$/,$d' vault/recipients.txt && git commit -q -a -m "bob leaves"`)
	u.Must(u.Basalt, "wgkeys rekey --commit")
	isCommitted(u, "vault/basalt/wg0.key.age", "vault/basalt/wg0.shale.psk.age", "vault/shale/wg0.basalt.psk.age",
		"vault/shale/wg0.key.age")
	r := u.Run(u.Basalt, "wgkeys check --leaver bob")
	for _, want := range []string{`private key of host "basalt"`, `private key of host "shale"`,
		`preshared key of hosts "basalt" and "shale"`} {
		if r.Code != ui.ExitFindings || strings.Count(r.Stdout, want) != 1 {
			t.Errorf("check --leaver: exit %d, and not once %q\n%s%s", r.Code, want, r.Stdout, r.Stderr)
		}
	}

	// What he could read is replaced.
	r = u.Run(u.Basalt, "wgkeys rotate -y --leaver bob --commit")
	if r.Code != ui.ExitDone || !strings.Contains(r.Stdout, "basalt wg0 preshared key with shale") {
		t.Fatalf("rotate: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	isCommitted(u, "keyring/basalt/wg0.pub", "keyring/shale/wg0.pub", "vault/basalt/wg0.key.age",
		"vault/basalt/wg0.shale.psk.age", "vault/shale/wg0.basalt.psk.age", "vault/shale/wg0.key.age")
	internetReachable(u, true, "after the rotation")
	if r := u.Run(u.Basalt, "wgkeys check --leaver bob"); r.Code != ui.ExitDone ||
		!strings.Contains(r.Stderr, "nothing found") {
		t.Errorf("check --leaver: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := u.Run(u.Basalt, "wgkeys rotate -y --leaver bob"); r.Code != ui.ExitDone ||
		!strings.Contains(r.Stderr, "nothing to do") {
		t.Errorf("rotate again: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}

	// He has all that was ever committed, and nothing of it is in use.
	now := keysInUse(u)
	for _, secret := range bobReads(u) {
		if slices.Contains(now, secret) {
			t.Error("bob can read a key that is in use")
		}
	}
	for _, h := range []*lab.Host{u.Basalt, u.Shale} {
		refusesKey(u, h, keys[h])
	}
}

// withBob gives bob the vault, and commits it. A clone of it is on his laptop.
func withBob(u *labtest.Users) {
	u.Helper()
	u.Tunnel("psk = true\n" + demo.FirstTunnel)
	u.Must(u.Basalt, `git config --global user.name alice && git config --global user.email alice@example.net
		age-keygen -o /root/bob.txt 2>/dev/null && { echo; echo "# bob"; age-keygen -y /root/bob.txt; } >>vault/recipients.txt
		wgkeys gen basalt && wgkeys rekey && wgkeys push basalt shale && wgkeys apply basalt && wgkeys apply shale
		git init -q -b main && git add -A && git commit -q -m start && git clone -q . /root/laptop`)
	internetReachable(u, true, "to begin with")
}

// bobReads are all secrets that bob's identity opens in all of the history, which
// he can fetch.
func bobReads(u *labtest.Users) []string {
	u.Helper()
	out := u.Must(u.Basalt, `cd /root/laptop && git pull -q && git rev-list --all --objects -- vault | while read object path; do
		case $path in *.age) git cat-file blob $object | age -d -i /root/bob.txt 2>/dev/null;; esac; done; true`)
	all := strings.Fields(out)
	slices.Sort(all)
	return slices.Compact(all)
}

// keysInUse are the secrets on the hosts.
func keysInUse(u *labtest.Users) []string {
	u.Helper()
	var all []string
	for _, h := range []*lab.Host{u.Basalt, u.Shale} {
		all = append(all, strings.Fields(u.Must(h, "cat /etc/wireguard/*.key /etc/wireguard/*.psk"))...)
	}
	if len(all) != 4 {
		u.Fatalf("there are %d secrets on the hosts", len(all))
	}
	return all
}

// isCommitted fails where the last commit has other files than these, or something
// was left out.
func isCommitted(u *labtest.Users, files ...string) {
	u.Helper()
	if got := strings.Fields(u.Must(u.Basalt, "git show --format= --name-only --no-renames | sort")); !slices.Equal(got,
		files) {
		u.Errorf("the commit has %q, want %q", got, files)
	}
	if left := u.Must(u.Basalt, "git status --porcelain"); left != "" {
		u.Errorf("not committed:\n%s", left)
	}
}

// internetReachable fails where shale answers through the tunnel, or does not.
func internetReachable(u *labtest.Users, want bool, when string) {
	u.Helper()
	limit := map[bool]string{true: "20", false: "3"}[want]
	if r := u.Run(u.Basalt, "ping -6 -n -q -c 1 -w "+limit+" 2001:db8:ffff::1"); (r.Code == 0) != want {
		u.Errorf("%s shale is reached: %v, want %v", when, r.Code == 0, want)
	}
}

// refusesKey has a host use the key that was stolen, as whoever has it would: the
// other end does not answer. Then it takes its own again.
func refusesKey(u *labtest.Users, h *lab.Host, stolen string) {
	u.Helper()
	set := func(key string) { u.Must(h, "wg set wg0 private-key /dev/stdin <<'END'\n"+key+"\nEND") }
	own := keyOn(u, h)
	u.Must(u.Basalt, "wgkeys down basalt && wgkeys apply basalt") // without a session
	u.Must(u.Basalt, "wgkeys down shale && wgkeys apply shale")
	set(stolen)
	internetReachable(u, false, "with the stolen key of "+h.Name())
	set(own)
	internetReachable(u, true, "again with its own key of "+h.Name())
	u.Must(u.Basalt, "wgkeys apply "+h.Name())
}
