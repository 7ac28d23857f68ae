package main

import (
	"strings"
	"testing"
	"time"
)

// Two rotate the same host at once, in two clones, and go on from the same next
// key. The second one comes while the first has armed the peer and has not switched
// yet. It waits, and no packet is lost: where it ended the first one's watch, the
// host would change its key with nobody there to follow.
func TestRotationOfTwoControllers(t *testing.T) {
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
