package main

import (
	"strings"
	"testing"
)

// secondTunnel is one more on the same hosts, which needs of shale what the
// first one needs.
const secondTunnel = `listen_port = 30568

[hosts.shale]
ssh       = "root@93.93.130.7"
endpoint  = "93.93.130.7"
addresses = ["2001:db8:8888::1/128"]
forward   = true

[hosts.basalt]
addresses = ["2001:db8:8888::2/128"]
`

// withSecond adds the second tunnel, and its keys.
func (u *users) withSecond(text string) {
	u.t.Helper()
	u.write(u.basalt, "/root/net/tunnels/wg1.toml", text)
	u.must(u.basalt, "test -e keyring/shale/wg1.pub || { wgkeys -t wg1 gen basalt shale && wgkeys -t wg1 push basalt shale; }")
	u.clone()
}

func (u *users) withoutSecond() {
	u.t.Helper()
	u.must(u.basalt, "rm -f tunnels/wg1.toml")
	u.must(u.shale, "rm -f tunnels/wg1.toml")
}

// A damaged journal is the trouble of its own tunnel. The others are warned,
// and keep what can be read of it.
func labDamagedJournal(t *testing.T, u *users) {
	u.withSecond(secondTunnel)
	defer u.withoutSecond()
	before := u.snapshot(u.shale)
	u.must(u.shale, "wgkeys apply -t wg1 && cp /run/wgkeys/wg1.journal /run/good && echo rubbish >>/run/wgkeys/wg1.journal")
	said := `cannot read the journal "/run/wgkeys/wg1.journal": it is damaged`
	for _, command := range []string{"apply", "plan", "down"} {
		r := u.run(u.shale, "wgkeys "+command+" -t wg1")
		if r.code != exitFailed || !strings.Contains(r.stderr, "error: "+said) || !strings.Contains(r.stderr, "hint: a reboot clears it") {
			t.Errorf("%s of the tunnel itself: exit %d\n%s", command, r.code, r.stderr)
		}
		r = u.run(u.shale, "wgkeys "+command+" -t wg0")
		if r.code != exitDone || !strings.Contains(r.stderr, "warning: "+said+"; wg1 may need what wg0 puts back") {
			t.Errorf("%s of the other tunnel: exit %d\n%s", command, r.code, r.stderr)
		}
	}
	if got := u.must(u.shale, "sysctl -n net.ipv6.conf.all.forwarding net.ipv6.conf.eth0.accept_ra"); got != "1\n2\n" {
		t.Errorf("wg0 took away what wg1 needs, which can be read in its journal: %q", got)
	}
	u.must(u.shale, "mv /run/good /run/wgkeys/wg1.journal && wgkeys down -t wg1")
	u.same(u.shale, before, "after both are down")
}

// What is counted is what was shown: what a second tunnel only shares is in the
// journal, and no step to a person.
func labCountsWhatItShows(t *testing.T, u *users) {
	u.withSecond(secondTunnel)
	defer u.withoutSecond()
	for _, command := range []string{"apply -t wg0", "apply -t wg1", "down -t wg0", "down -t wg1"} {
		r := u.run(u.shale, "wgkeys "+command)
		shown := strings.Count(r.stdout, "\n")
		want := ": done, " + plural(shown, "step")
		if r.code != exitDone || shown == 0 || !strings.Contains(r.stderr, want+"\n") {
			t.Errorf("%s exits %d, shows %d steps and says %s", command, r.code, shown, r.stderr)
		}
	}
}
