package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/lazyregexp"
)

// commandsSaid are those of wgkeys in a text, up to where its sentence goes on.
var commandsSaid = lazyregexp.New(`wgkeys (?:plan|apply|down|confirm|show|gen|push|rotate|status)(?: -[a-z-]+| [a-z0-9.]+)*`)

// TestLabHintsOfTwoTunnels: in a repository with two tunnels, where every host is in both,
// what a verb says to run can be run as it stands, and is about the tunnel that the verb is.
func TestLabHintsOfTwoTunnels(t *testing.T) {
	t.Parallel()
	s := labtest.NewStar(t, 2)
	other := strings.NewReplacer("30567", "30568", "10.77.", "10.78.").Replace(s.File("keepalive = 20"))
	s.Write(s.Hub, "/root/net/tunnels/wg1.toml", other)
	seen := map[string]bool{}
	// about has every command that one of wg1 says run, of which at least one has to be like want.
	about := func(command, want string) {
		t.Helper()
		r := s.Users.Run(s.Hub, command)
		found := false
		for _, said := range commandsSaid().FindAllString(r.Stdout+r.Stderr, -1) {
			found = found || said == want
			if !strings.Contains(said, " -t wg1") && !strings.Contains(said, " --tunnel wg1") {
				t.Errorf("%s says %q, which is not about wg1:\n%s%s", command, said, r.Stdout, r.Stderr)
			}
			if seen[said] {
				continue
			}
			seen[said] = true
			if strings.HasPrefix(said, "wgkeys rotate ") {
				said += " -n"
			}
			if hint := s.Users.Run(s.Hub, said); hint.Code == ui.ExitUsage {
				t.Errorf("%s says %q, which exits %d:\n%s", command, said, hint.Code, hint.Stderr)
			}
		}
		if !found {
			t.Errorf("%s does not say %q:\n%s%s", command, want, r.Stdout, r.Stderr)
		}
	}
	about("wgkeys push -t wg1 hub", "wgkeys gen -t wg1 hub") // which makes that key
	about("wgkeys show -t wg1 hub", "wgkeys gen -t wg1 s001 s002")
	s.Must(s.Hub, "wgkeys push -q hub s001 s002 && wgkeys apply -q -t wg1 s002")
	about("wgkeys rotate -y -t wg1 hub", "wgkeys apply -t wg1 hub")
	about("wgkeys rotate -y -t wg1 hub", "wgkeys apply -t wg1 s001")
	s.Must(s.Hub, "wgkeys down -q -t wg1 s001")
	about("wgkeys status -t wg1", "wgkeys apply -t wg1 s001")
	s.Must(s.Hub, "wgkeys apply -q -t wg1 s001")
	for _, h := range s.Spokes {
		s.Must(h, "ping -n -q -c 1 -w 20 10.78.0.1")
	}
	s.Must(s.Hub, "wgkeys rotate -q -y -t wg1 --skip s002 hub")
	about("wgkeys rotate -y -t wg1 s002", "wgkeys apply -t wg1 s002")
	about("wgkeys rotate -y -t wg1 --skip s002 hub", "wgkeys apply -t wg1 s002")

	// A spoke whose wgkeys fails.
	s.Must(s.Spokes[0], "mv /usr/local/bin/wgkeys /run/away && printf '#!/bin/sh\nexit 1\n' >/usr/local/bin/wgkeys && "+
		"chmod +x /usr/local/bin/wgkeys")
	about("wgkeys status -t wg1 s001", "wgkeys plan -t wg1 s001")
	s.Must(s.Spokes[0], "mv /run/away /usr/local/bin/wgkeys")

	// One that is not well after its apply.
	s.Write(s.Hub, "/root/net/tunnels/wg1.toml", strings.Replace(other, "keepalive = 20", "keepalive = 24", 1))
	s.Must(s.Spokes[0], "(while sleep 0.01; do ip link set wg1 mtu 1300; done) >/dev/null 2>&1 & echo $! >/run/unwell.pid")
	about("wgkeys apply -t wg1 --batch 2 --confirm 5s s001 s002", "wgkeys plan -t wg1 s001")
	s.Must(s.Spokes[0], "kill $(cat /run/unwell.pid)")
	// A clone that is behind.
	s.Must(s.Hub, "mkdir /run/older /run/newer && cp -r keyring vault /run/older/ && wgkeys rotate -q -y -t wg1 s002 && "+
		"cp -r keyring vault /run/newer/ && cp -r /run/older/. .")
	about("wgkeys status -t wg1 s002", "wgkeys apply -t wg1 s002")
	r := starExits(s, ui.ExitFailed, "wgkeys apply -t wg1 s002")
	want := "wgkeys apply -t wg1 s002; if nobody has the newer key: wgkeys rotate -t wg1 --unknown s002; " +
		"if the older one is right: wgkeys apply -t wg1 --unknown s002\n"
	if !strings.HasSuffix(strings.Split(r.Stderr, "wgkeys: error: ")[1], want) {
		t.Errorf("apply says\n%s", r.Stderr)
	}
	s.Must(s.Hub, "cp -r /run/newer/. .")
	installTwoTunnels(s)
}

// installTwoTunnels: what is to be done for the tunnels of a host is said for each, as it is to be
// run from here.
func installTwoTunnels(s *labtest.Star) {
	s.Must(s.Hub, `wgkeys apply -q -t wg0 s002 && wgkeys apply -q -t wg1 s002 && mkdir /root/new &&
		cp "$(command -v wgkeys)" /root/new/ && echo newer >>/root/new/wgkeys`)
	r := starExits(s, ui.ExitDone, "/root/new/wgkeys install --up s002")
	want := []string{"run /usr/local/bin/wgkeys apply --kept -t wg0; /usr/local/bin/wgkeys apply --kept -t wg1\n"}
	if s.Users.Run(s.Spokes[1], "test -S /var/run/wireguard/wg1.sock").Code == 0 {
		want = append(want, ": wgkeys down -t wg0 s002, then wgkeys apply -t wg0 s002\n",
			": wgkeys down -t wg1 s002, then wgkeys apply -t wg1 s002\n")
	}
	for _, w := range want {
		if !strings.Contains(r.Stderr, w) {
			s.Errorf("install does not say %q:\n%s", w, r.Stderr)
		}
	}
}
