package main

import (
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/faulttest"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// Two rotate the same host at once, in two clones, and go on from the same next
// key. The second one comes while the first has armed the peer and has not switched
// yet. It waits, and no packet is lost: where it ended the first one's watch, the
// host would change its key with nobody there to follow.
func TestLabRotateTwoControllers(t *testing.T) {
	t.Parallel()
	m := newMesh(t, labtest.MeshOptions{Hosts: 2})
	first, host := m.Hosts[0], m.Hosts[0]
	m.Write(first, faulttest.FaultFile, "kill after controller: write the next public key")
	m.Run(first, "wgkeys rotate -y "+host.Name())
	m.Must(first, "rm "+faulttest.HitFile+" && cp -a /root/net /root/clone")
	old, secret := keysOf(m, host)
	m.StartStreams(calmRate())

	m.Write(first, faulttest.FaultFile, "pause after controller: watch "+m.Hosts[1].Name())
	one, two := make(chan labtest.Result, 1), make(chan labtest.Result, 1)
	tolls := m.During(func() {
		go func() { one <- m.Run(first, "wgkeys rotate -y -v "+host.Name()) }()
		m.Until("the watch", func() bool { _, err := first.ReadFile(faulttest.HitFile); return err == nil })
		go func() { two <- m.Run(first, "wgkeys rotate -y -v -C /root/clone "+host.Name()) }()
		time.Sleep(5 * time.Second) // more than the second one took to end what it found
		m.Write(first, faulttest.GoFile, "")
		for _, c := range []struct {
			name  string
			ended chan labtest.Result
		}{{"the first", one}, {"the second", two}} {
			r := <-c.ended
			t.Logf("%s: exit %d\n%s%s", c.name, r.Code, r.Stdout, r.Stderr)
			if r.Code != 0 {
				t.Errorf("%s: exit %d", c.name, r.Code)
			}
			if c.name == "the second" && !strings.Contains(r.Stderr, "another wgkeys rotate is at work") {
				t.Error("the second one did not wait for the first")
			}
		}
	})
	for i, x := range tolls {
		if x.Lost > 0 || x.Doubled > 0 {
			t.Errorf("%s to %s: %v", m.Streams[i].From, m.Streams[i].To, x)
		}
	}
	if now, _ := keysOf(m, host); now == old {
		t.Error("the key is the old one")
	}
	nothingLeft(m, map[string]bool{secret: true})
}

// Two rotate two hosts that are peers of each other: while the first has yet to reach
// the second's host, that one's key is replaced, from another clone. The first sees it
// and changes nothing.
func TestLabRotateTwoPeers(t *testing.T) {
	t.Parallel()
	m := newMesh(t, labtest.MeshOptions{Hosts: 2})
	first := m.Hosts[0]
	m.Must(first, "cp -a /root/net /root/clone")
	m.StartStreams(calmRate())
	m.Write(first, faulttest.FaultFile, "pause after controller: push")
	one := make(chan labtest.Result, 1)
	tolls := m.During(func() {
		go func() { one <- m.Run(first, "wgkeys rotate -y -v "+first.Name()) }()
		m.Until("the push", func() bool { _, err := first.ReadFile(faulttest.HitFile); return err == nil })
		m.Must(first, "wgkeys rotate -y -C /root/clone "+m.Hosts[1].Name())
		m.Write(first, faulttest.GoFile, "")
		if r := <-one; r.Code != ui.ExitFailed ||
			!strings.Contains(r.Stderr, "the key was replaced by somebody else meanwhile, on peer \""+m.Hosts[1].Name()+"\"") {
			t.Errorf("the first: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
		}
	})
	for i, x := range tolls {
		if x.Lost > 0 || x.Doubled > 0 {
			t.Errorf("%s to %s: %v", m.Streams[i].From, m.Streams[i].To, x)
		}
	}
}

// An interrupt comes while the request to switch is on its way, and a watcher is slow
// to hear that it is to end: the switch, late, finds that it has nobody to follow.
func TestLabRotateInterrupted(t *testing.T) {
	t.Parallel()
	m := newMesh(t, labtest.MeshOptions{Hosts: 3})
	slow := func(what, seconds string) string {
		return `mkdir -p /root/real && mv /usr/local/bin/wgkeys /root/real/wgkeys && cat >/usr/local/bin/wgkeys <<'E'
#!/bin/sh
[ "$1" = turn ] || exec /root/real/wgkeys "$@"
while in=$(dd bs=64k count=1 2>/dev/null) && [ -n "$in" ]; do # a request: the next may follow its answer
	case "$in" in *'"do":"` + what + `"'*) sleep ` + seconds + `;; esac
	printf %s "$in"
done | /root/real/wgkeys turn
E
chmod +x /usr/local/bin/wgkeys`
	}
	m.Must(m.Hosts[1], slow("switch", "6"))
	m.Must(m.Hosts[2], slow("end", "10"))
	old, _ := keysOf(m, m.Hosts[1])
	m.StartStreams(calmRate())
	tolls := m.During(func() {
		r := m.Run(m.Hosts[0], "timeout -s INT 4 wgkeys rotate -y -v "+m.Hosts[1].Name())
		if r.Code == 0 || !strings.Contains(r.Stderr, "wgkeys rotate "+m.Hosts[1].Name()) {
			t.Errorf("exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
		}
		time.Sleep(8 * time.Second)
	})
	for i, x := range tolls {
		if x.Lost > 0 || x.Doubled > 0 {
			t.Errorf("%s to %s: %v", m.Streams[i].From, m.Streams[i].To, x)
		}
	}
	if now, _ := keysOf(m, m.Hosts[1]); now != old {
		t.Error("the key was replaced after the interrupt")
	}
	for _, h := range m.Hosts[1:] {
		m.Must(h, "rm /usr/local/bin/wgkeys && mv /root/real/wgkeys /usr/local/bin/wgkeys")
	}
	m.Must(m.Hosts[0], "wgkeys rotate -y "+m.Hosts[1].Name())
	if now, _ := keysOf(m, m.Hosts[1]); now == old {
		t.Error("the next run did not finish it")
	}
}
