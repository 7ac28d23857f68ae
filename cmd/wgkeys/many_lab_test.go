package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// TestLabMany: one command for many hosts, each with its name first on every line.
func TestLabMany(t *testing.T) {
	t.Parallel()
	s := labtest.NewStar(t, 12)
	t.Run("push", func(t *testing.T) { manyPush(s.With(t)) })
	t.Run("plan", func(t *testing.T) { manyPlan(s.With(t)) })
	t.Run("apply", func(t *testing.T) { manyApply(s.With(t)) })
	t.Run("connections", func(t *testing.T) { manyConnections(s.With(t)) })
	t.Run("unwell", func(t *testing.T) { manyUnwell(s.With(t)) })
	t.Run("not reached", func(t *testing.T) { manyNotReached(s.With(t)) })
	t.Run("broken", func(t *testing.T) { manyBroken(s.With(t)) })
	t.Run("down", func(t *testing.T) { manyDown(s.With(t)) })
}

// starExits runs a command on the hub, and fails unless it exits so.
func starExits(s *labtest.Star, code int, command string) labtest.Result {
	s.Helper()
	r := s.Users.Run(s.Hub, command)
	if r.Code != code {
		s.Fatalf("%s: exit %d, want %d\n%s%s", command, r.Code, code, r.Stdout, r.Stderr)
	}
	return r
}

// hostsOf are the hosts that lines begin with, each once and sorted.
func hostsOf(text, separator string) (hosts []string) {
	for line := range strings.Lines(text) {
		if host, _, ok := strings.Cut(line, separator); ok {
			hosts = append(hosts, host)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

func manyPush(s *labtest.Star) {
	r := starExits(s, ui.ExitDone, "wgkeys push @tenth 's00[12]' s003")
	if got := strings.Join(hostsOf(r.Stdout, " "), " "); got != "s001 s002 s003 s010" {
		s.Errorf("pushed to %s", got)
	}
	r = starExits(s, ui.ExitDone, "wgkeys push --all hub")
	if got := hostsOf(r.Stdout, " "); len(got) != 13 || !strings.HasSuffix(r.Stderr, "wgkeys: 13 hosts done\n") {
		s.Errorf("pushed to %v, and it says %q", got, r.Stderr)
	}
}

func manyPlan(s *labtest.Star) {
	r := starExits(s, ui.ExitFindings, "wgkeys plan --all")
	if got := hostsOf(r.Stdout, ": "); !slices.Equal(got, s.Names()) {
		s.Errorf("plans of %v", got)
	}
	if !strings.Contains(r.Stderr, "left out hub, which is this machine: wgkeys plan hub serves it\n") {
		s.Errorf("it says %q", r.Stderr)
	}
	if !strings.Contains("\n"+r.Stdout, "\ns007: ip link add wg0 ") {
		s.Errorf("no step of s007 in\n%s", r.Stdout)
	}
	var all []manyResult
	r = starExits(s, ui.ExitFindings, "wgkeys plan --json hub s001")
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil || len(all) != 2 || all[0].Host != "hub" ||
		!strings.Contains(string(all[1].Result), "ip link add wg0") {
		s.Errorf("%v: %s", err, r.Stdout)
	}
	for command, says := range map[string]string{
		"wgkeys plan @nosuch":                `error: no host has the tag "@nosuch": there are @spoke, @tenth`,
		"wgkeys plan 'x*'":                   `error: no host matches "x*"`,
		"wgkeys apply -j 0 --all":            "error: -j must be at least 1",
		"wgkeys apply --batch 0 --all":       "error: --batch must be at least 1",
		"wgkeys apply --kept hub s001":       "error: cannot go together: ",
		"wgkeys down --stop-after -1 @spoke": "error: --stop-after must be at least 1",
	} {
		if r := starExits(s, ui.ExitUsage, command); !strings.Contains(r.Stderr, says) {
			s.Errorf("%s says %q", command, r.Stderr)
		}
	}
}

func manyApply(s *labtest.Star) {
	starExits(s, ui.ExitDone, "wgkeys apply hub s001 s002")
	starExits(s, ui.ExitDone, "wgkeys apply --all --batch 5 -q")
	for i, h := range s.Spokes {
		s.Must(h, "ping -n -q -c 1 -w 20 "+labtest.InsideOf(0).String())
		if at := s.Must(h, "cat /run/wgkeys/*pending* 2>/dev/null; ip -o -4 address show wg0"); !strings.Contains(at,
			labtest.InsideOf(i+1).String()+"/16") {
			s.Errorf("%s is not confirmed, or has not its address: %s", h.Name(), at)
		}
	}
	r := starExits(s, ui.ExitDone, "wgkeys plan --all hub")
	if r.Stdout != "" {
		s.Errorf("the second plan is\n%s", r.Stdout)
	}
}

// manyConnections: one connection a host is enough, but for the confirmation of an apply that
// has something to do.
func manyConnections(s *labtest.Star) {
	for _, c := range []struct {
		command string
		want    int
	}{
		{"wgkeys push --all", 1}, {"wgkeys plan --all", 1}, {"wgkeys apply --all", 1}, {"wgkeys status --all", 1},
		{"sed -i '1s/^/keepalive = 23\\n/' tunnels/wg0.toml && wgkeys apply --all", 2},
	} {
		before := logins(s)
		starExits(s, ui.ExitDone, c.command)
		if got := logins(s) - before; got != c.want*len(s.Spokes) {
			s.Errorf("%s: %d logins on %d hosts", c.command, got, len(s.Spokes))
		}
	}
}

// logins counts those to all spokes so far.
func logins(s *labtest.Star) (n int) {
	for _, h := range s.Spokes {
		n += strings.Count(s.Read(h, "/run/sshd.log"), "Accepted publickey")
	}
	return n
}

// manyUnwell: of a batch whose hosts are named in no order, the one that is not well is not
// confirmed, and the other is.
func manyUnwell(s *labtest.Star) {
	s.Tunnel(s.File("keepalive = 24"))
	s.Must(s.Spokes[0], "(while sleep 0.01; do ip link set wg0 mtu 1300; done) >/dev/null 2>&1 & echo $! >/run/unwell.pid")
	r := starExits(s, ui.ExitSome, "wgkeys apply --batch 2 --confirm 20s s002 s001")
	if !strings.Contains(r.Stderr, `the tunnel is worse after the apply on host "s001"`) ||
		!strings.Contains(r.Stderr, "not done on 1 of 2 hosts") {
		s.Errorf("it says\n%s", r.Stderr)
	}
	s.Must(s.Spokes[0], "kill $(cat /run/unwell.pid)")
	starExits(s, ui.ExitDone, "wgkeys plan s002")
	s.Until("s001 to be back",
		func() bool { return s.Users.Run(s.Spokes[0], "wg show wg0 | grep -q 'every 24 s'").Code != 0 })
	starExits(s, ui.ExitDone, "wgkeys apply --all")
}

// manyNotReached: on a host that was never reached nothing was begun, with -q neither. One
// whose status is not known before a batch is left as it is: nor would it be known after it.
func manyNotReached(s *labtest.Star) {
	s.Tunnel(s.File("keepalive = 23"))
	s.Must(s.Spokes[1], "kill $(cat /run/sshd.pid)")
	s.Must(s.Spokes[4], `cp /usr/local/bin/wgkeys /run/real/wgkeys 2>/dev/null || { mkdir /run/real; cp /usr/local/bin/wgkeys /run/real/wgkeys; }
		printf '#!/bin/sh\ncase $1 in turn) echo "wgkeys: error: no such command: turn" >&2; exit 2;; esac\nexec /run/real/wgkeys "$@"\n' >/run/older
		chmod +x /run/older; mount --bind /run/older /usr/local/bin/wgkeys`)
	for command, code := range map[string]int{
		"apply -q s002":                              ui.ExitFailed,
		"uninstall -y s002":                          ui.ExitFailed,
		"apply -q s001 s002":                         ui.ExitSome,
		"apply -q --batch 2 s001 s002":               ui.ExitSome,
		"apply -q --batch 2 --confirm 20s s001 s005": ui.ExitSome,
	} {
		r := starExits(s, code, "wgkeys "+command)
		want := `error: cannot reach host "s002": `
		if strings.Contains(command, "s005") {
			want = `error: another version of wgkeys is on host "s005": `
		}
		wrong := slices.ContainsFunc([]string{"begun there", "undoes", "worse"},
			func(w string) bool { return strings.Contains(r.Stderr, w) })
		if wrong || !strings.Contains(r.Stderr, want) {
			s.Errorf("%s says\n%s", command, r.Stderr)
		}
	}
	s.Must(s.Spokes[4], "wg show wg0 | grep -q 'every 24 s' && umount /usr/local/bin/wgkeys")
	s.Must(s.Spokes[1], "$(command -v sshd) -E /run/sshd.log")
	starExits(s, ui.ExitDone, "wgkeys apply -q --all")
}

// manyBroken: three are broken in three ways. The others are done, and the command that is
// printed does the rest.
func manyBroken(s *labtest.Star) {
	s.Tunnel(s.File("keepalive = 25"))
	s.Must(s.Spokes[1], "kill $(cat /run/sshd.pid)")
	s.Must(s.Spokes[4], "mv /usr/local/bin/wgkeys /run/away")
	s.Must(s.Spokes[7], "wgkeys down -q && ip link add wg0 type bridge")
	r := starExits(s, ui.ExitSome, "wgkeys apply --confirm 20s @spoke")
	for _, want := range []string{
		`error: cannot reach host "s002": `, `error: cannot run wgkeys on host "s005": it is not installed there`,
		`error: wgkeys apply failed on host "s008": `, "s008: failed\n", "not done on 3 of 12 hosts: 3 failed",
	} {
		if !strings.Contains(r.Stderr, want) {
			s.Errorf("no %q in\n%s", want, r.Stderr)
		}
	}
	_, retry, _ := strings.Cut(r.Stderr, "once that is fixed: ")
	if retry = strings.TrimSpace(retry); retry != "wgkeys apply --confirm 20s s002 s005 s008" {
		s.Errorf("the rest is %q", retry)
	}
	r = starExits(s, ui.ExitFailed, "wgkeys apply --stop-after 1 -j 1 s002 s003 s004")
	if !strings.Contains(r.Stderr, "2 not begun: s003, s004") ||
		!strings.Contains(r.Stderr, "wgkeys apply --jobs 1 --stop-after 1 s002 s003 s004") {
		s.Errorf("it says\n%s", r.Stderr)
	}
	if err := s.Spokes[1].StartSSHD(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.Must(s.Spokes[4], "mv /run/away /usr/local/bin/wgkeys")
	s.Must(s.Spokes[7], "ip link del wg0")
	starExits(s, ui.ExitDone, retry)
	starExits(s, ui.ExitDone, "wgkeys apply hub s001 && wgkeys plan --all hub")
}

func manyDown(s *labtest.Star) {
	starExits(s, ui.ExitDone, "wgkeys down --all && wgkeys down hub")
	for _, h := range s.Spokes {
		s.Must(h, "! ip link show wg0 2>/dev/null")
	}
	if r := starExits(s, ui.ExitDone, "wgkeys down @spoke"); strings.Count(r.Stderr, "nothing to do") != len(s.Spokes) {
		s.Errorf("it says %s", fmt.Sprint(r.Stderr))
	}
}
