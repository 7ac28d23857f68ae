package main

import (
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/ui"
)

// Two rotate the same host at once, in two clones, and go on from the same next
// key. The second one comes while the first has armed the peer and has not switched
// yet. It waits, and no packet is lost: where it ended the first one's watch, the
// host would change its key with nobody there to follow.
func TestLabRotateTwoControllers(t *testing.T) {
	t.Parallel()
	m := newMesh(t, meshOptions{hosts: 2})
	first, host := m.hosts[0], m.hosts[0]
	m.write(first, faultFile, "kill after controller: write the next public key")
	m.run(first, "wgkeys rotate -y "+host.Name())
	m.must(first, "rm "+hitFile+" && cp -a /root/net /root/clone")
	old, secret := m.keys(host)
	m.flow(calmRate())

	m.write(first, faultFile, "pause after controller: watch "+m.hosts[1].Name())
	one, two := make(chan result, 1), make(chan result, 1)
	tolls := m.during(func() {
		go func() { one <- m.run(first, "wgkeys rotate -y -v "+host.Name()) }()
		m.until("the watch", func() bool { _, err := first.ReadFile(hitFile); return err == nil })
		go func() { two <- m.run(first, "wgkeys rotate -y -v -C /root/clone "+host.Name()) }()
		time.Sleep(5 * time.Second) // more than the second one took to end what it found
		m.write(first, goFile, "")
		for _, c := range []struct {
			name  string
			ended chan result
		}{{"the first", one}, {"the second", two}} {
			r := <-c.ended
			t.Logf("%s: exit %d\n%s%s", c.name, r.code, r.stdout, r.stderr)
			if r.code != 0 {
				t.Errorf("%s: exit %d", c.name, r.code)
			}
			if c.name == "the second" && !strings.Contains(r.stderr, "another wgkeys rotate is at work") {
				t.Error("the second one did not wait for the first")
			}
		}
	})
	for i, x := range tolls {
		if x.lost > 0 || x.doubled > 0 {
			t.Errorf("%s to %s: %v", m.streams[i].from, m.streams[i].to, x)
		}
	}
	if now, _ := m.keys(host); now == old {
		t.Error("the key is the old one")
	}
	m.nothingLeft(map[string]bool{secret: true})
}

// Two rotate two hosts that are peers of each other: while the first has yet to reach
// the second's host, that one's key is replaced, from another clone. The first sees it
// and changes nothing.
func TestLabRotateTwoPeers(t *testing.T) {
	t.Parallel()
	m := newMesh(t, meshOptions{hosts: 2})
	first := m.hosts[0]
	m.must(first, "cp -a /root/net /root/clone")
	m.flow(calmRate())
	m.write(first, faultFile, "pause after controller: push")
	one := make(chan result, 1)
	tolls := m.during(func() {
		go func() { one <- m.run(first, "wgkeys rotate -y -v "+first.Name()) }()
		m.until("the push", func() bool { _, err := first.ReadFile(hitFile); return err == nil })
		m.must(first, "wgkeys rotate -y -C /root/clone "+m.hosts[1].Name())
		m.write(first, goFile, "")
		if r := <-one; r.code != ui.ExitFailed || !strings.Contains(r.stderr, "the key was replaced by somebody else meanwhile, on peer \""+m.hosts[1].Name()+"\"") {
			t.Errorf("the first: exit %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	})
	for i, x := range tolls {
		if x.lost > 0 || x.doubled > 0 {
			t.Errorf("%s to %s: %v", m.streams[i].from, m.streams[i].to, x)
		}
	}
}

// An interrupt comes while the request to switch is on its way, and a watcher is slow
// to hear that it is to end: the switch, late, finds that it has nobody to follow.
func TestLabRotateInterrupted(t *testing.T) {
	t.Parallel()
	m := newMesh(t, meshOptions{hosts: 3})
	slow := func(what, seconds string) string {
		return `mkdir -p /root/real && mv /usr/local/bin/wgkeys /root/real/wgkeys && cat >/usr/local/bin/wgkeys <<'E'
#!/bin/sh
[ "$1" = turn ] || exec /root/real/wgkeys "$@"
in=$(cat)
case "$in" in *'"do":"` + what + `"'*) sleep ` + seconds + `;; esac
printf %s "$in" | /root/real/wgkeys turn
E
chmod +x /usr/local/bin/wgkeys`
	}
	m.must(m.hosts[1], slow("switch", "6"))
	m.must(m.hosts[2], slow("end", "10"))
	old, _ := m.keys(m.hosts[1])
	m.flow(calmRate())
	tolls := m.during(func() {
		r := m.run(m.hosts[0], "timeout -s INT 4 wgkeys rotate -y -v "+m.hosts[1].Name())
		if r.code == 0 {
			t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		time.Sleep(8 * time.Second)
	})
	for i, x := range tolls {
		if x.lost > 0 || x.doubled > 0 {
			t.Errorf("%s to %s: %v", m.streams[i].from, m.streams[i].to, x)
		}
	}
	if now, _ := m.keys(m.hosts[1]); now != old {
		t.Error("the key was replaced after the interrupt")
	}
	for _, h := range m.hosts[1:] {
		m.must(h, "rm /usr/local/bin/wgkeys && mv /root/real/wgkeys /usr/local/bin/wgkeys")
	}
	m.must(m.hosts[0], "wgkeys rotate -y "+m.hosts[1].Name())
	if now, _ := m.keys(m.hosts[1]); now == old {
		t.Error("the next run did not finish it")
	}
}
