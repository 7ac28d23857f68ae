package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

const keyFile = "/etc/wireguard/wg0.key"

// asPlain and asWgkeys choose the program that speaks for shale: sh with wg(8),
// or wgkeys.
const (
	asPlain  = "mkdir -p /run/away; mv /usr/local/bin/wgkeys /run/away/"
	asWgkeys = "mv /run/away/wgkeys /usr/local/bin/"
)

// Push over a real ssh server, to a host with wgkeys and to one with wg alone.
func TestLabPush(t *testing.T) {
	u := labtest.FirstUsers(t)
	t.Run("readers", func(t *testing.T) { pushKeepsReaders(u.With(t)) })
	t.Run("wgkeys", func(t *testing.T) { pushAll(u.With(t), cutWgkeys) })
	u.Must(u.Shale, asPlain)
	t.Run("plain", func(t *testing.T) { pushAll(u.With(t), cutPlain) })
	t.Run("unreachable", func(t *testing.T) { pushUnreachable(u.With(t)) })
	t.Run("without wg", func(t *testing.T) { pushWithoutPrograms(u.With(t)) })
	u.Must(u.Shale, "mv /run/away/wg /usr/bin/; "+asWgkeys)
}

func pushAll(u *labtest.Users, cuts []cut) {
	u.Helper()
	pushInstalls(u)
	pushNeedsNoIdentity(u)
	pushFillsDisk(u)
	for _, c := range cuts {
		pushLosesServer(u, c)
	}
}

// changeKey gives shale another key in the repository.
func changeKey(u *labtest.Users) {
	u.Helper()
	u.Must(u.Basalt, "rm -r vault/shale keyring/shale && wgkeys gen shale")
}

// keyInstalled fails where shale's key file is not what the keyring says.
func keyInstalled(u *labtest.Users) {
	u.Helper()
	public := strings.TrimSpace(u.Read(u.Basalt, "/root/net/keyring/shale/wg0.pub"))
	out := u.Must(u.Shale, "wg pubkey <"+keyFile+"; stat -c '%a %U %G' "+keyFile+"; ls -A /etc/wireguard")
	if want := public + "\n600 root root\nwg0.key\n"; out != want {
		u.Errorf("shale's key is\n%swant\n%s", out, want)
	}
}

func pushInstalls(u *labtest.Users) {
	u.Helper()
	changeKey(u)
	if out := u.Must(u.Basalt, "wgkeys push --unknown shale"); out != "shale "+keyFile+" replaced\n" {
		u.Errorf("push of a new key says %q", out)
	}
	keyInstalled(u)
	u.Must(u.Shale, "rm -r /etc/wireguard/*; chmod 755 /etc/wireguard")
	if out := u.Must(u.Basalt, "wgkeys push --unknown shale"); out != "shale "+keyFile+" installed\n" {
		u.Errorf("push of the first key says %q", out)
	}
	keyInstalled(u)
	u.Must(u.Shale, "chmod 640 "+keyFile)
	if out := u.Must(u.Basalt, "wgkeys push --unknown shale"); out != "shale "+keyFile+" repaired\n" {
		u.Errorf("push to a file for others to read says %q", out)
	}
	keyInstalled(u)
}

// pushKeepsReaders: systemd-networkd reads its keys as a user of its own
// (systemd.netdev(5)). Push, apply and rotate keep the group that somebody chose.
func pushKeepsReaders(u *labtest.Users) {
	u.Helper()
	readers := func(when string) {
		u.Helper()
		if got := u.Must(u.Shale, "stat -c '%a %U %G' "+keyFile); got != "640 root daemon\n" {
			u.Errorf("%s the key file is %s", when, got)
		}
	}
	u.Must(u.Shale, "chgrp daemon "+keyFile+"; chmod 640 "+keyFile)
	if out := u.Must(u.Basalt, "wgkeys push --unknown shale"); out != "shale "+keyFile+" unchanged\n" {
		u.Errorf("push to a file with readers says %q", out)
	}
	changeKey(u)
	u.Must(u.Basalt, "wgkeys push --unknown shale")
	readers("after push")
	u.Clone()
	u.Must(u.Shale, "wgkeys apply")
	u.Must(u.Basalt, "wgkeys apply && wgkeys rotate -y shale")
	readers("after rotate")
	u.Must(u.Shale, "wgkeys down; chgrp root "+keyFile+"; chmod 600 "+keyFile)
	u.Must(u.Basalt, "wgkeys down")
}

func pushNeedsNoIdentity(u *labtest.Users) {
	u.Helper()
	u.Must(u.Basalt, "mv ~/.config/wgkeys/identity.txt ~/away.txt")
	if out := u.Must(u.Basalt,
		"wgkeys push --all basalt"); out != "shale "+keyFile+" unchanged\nbasalt "+keyFile+" unchanged\n" &&
		out != "basalt "+keyFile+" unchanged\nshale "+keyFile+" unchanged\n" {
		u.Errorf("push without a change says %q", out)
	}
	changeKey(u)
	r := u.Run(u.Basalt, "wgkeys push --unknown shale")
	pushFails(u, r, "nothing was installed: no secret for", "searched /root/.config/wgkeys/identity.txt ")
	u.Must(u.Basalt, "mv ~/away.txt ~/.config/wgkeys/identity.txt && wgkeys push --unknown shale")
	keyInstalled(u)
}

// pushFillsDisk pushes to a disk without room: the old key stays, and nothing
// beside it.
func pushFillsDisk(u *labtest.Users) {
	u.Helper()
	u.Must(u.Shale, `set -e
		cp `+keyFile+` /run/old.key
		mount -t tmpfs -o size=16k,mode=700 tmpfs /etc/wireguard
		cp -p /run/old.key `+keyFile+`
		dd if=/dev/zero of=/etc/wireguard/fill bs=4k count=64 2>/dev/null || true`)
	changeKey(u)
	r := u.Run(u.Basalt, "wgkeys push --unknown shale")
	pushFails(u, r, `error: cannot install `+keyFile+` on host "shale": `, "no space left on device")
	if out := u.Must(u.Shale, "cmp /run/old.key "+keyFile+" && ls -A /etc/wireguard"); out != "fill\nwg0.key\n" {
		u.Errorf("left on the full disk: %q", out)
	}
	u.Must(u.Shale, "umount /etc/wireguard")
	u.Must(u.Basalt, "wgkeys push --unknown shale")
	keyInstalled(u)
}

// A cut is a moment at which shale's ssh server loses all its sessions, as a
// program on shale that brings it about, and whether the new key is there then.
type cut struct {
	name, program, script string
	installed             bool
}

// hangUp kills the sessions of the ssh server that led here, from the top and at once: a
// shell whose own command was killed before it would go on meanwhile.
const hangUp = `
hangUp() {
	pid=$PPID pids=
	while [ "$pid" -gt 1 ] && [ "$pid" != "$(cat /run/sshd.pid)" ]; do
		pids="$pid $pids"
		pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
	done
	kill -9 $pids
}
`

// cutPlain counts the calls of wg(8), and cutWgkeys what the host says: hello,
// what it has, what it has done.
var (
	cutPlain = []cut{wgCut("asked", 1, false), wgCut("asked again", 2, false), wgCut("temporary file", 3, false),
		wgCut("in place", 4, true)}
	cutWgkeys = []cut{lineCut("asked", 2, false), lineCut("in place", 3, true)}
)

func wgCut(name string, call int, installed bool) cut {
	return cut{name, "wg", fmt.Sprintf(`#!/bin/sh
%s
echo >>/run/calls
[ "$(wc -l </run/calls)" -ne %d ] || hangUp
exec /usr/bin/wg "$@"
`, hangUp, call), installed}
}

func lineCut(name string, line int, installed bool) cut {
	return cut{name, "wgkeys", fmt.Sprintf(`#!/bin/sh
%s
[ "$*" = receive ] || exec /run/away/wgkeys "$@"
n=0
/run/away/wgkeys receive | while read -r line; do
	n=$((n + 1))
	[ $n -ne %d ] || hangUp
	echo "$line"
done
`, hangUp, line), installed}
}

// pushLosesServer loses the connection half way: in place is the old key or the
// new one, and the next push leaves the new one and nothing else.
func pushLosesServer(u *labtest.Users, c cut) {
	u.Helper()
	changeKey(u)
	old := u.Read(u.Shale, keyFile)
	u.Must(u.Shale, "rm -f /run/calls")
	if c.program == "wgkeys" {
		u.Must(u.Shale, asPlain)
	}
	if err := u.Shale.WriteFile("/usr/local/bin/"+c.program, []byte(c.script), 0o755); err != nil {
		u.Fatal(err)
	}
	r := u.Run(u.Basalt, "wgkeys push --unknown shale")
	pushFails(u, r, ` host "shale": `, "hint: ")
	if now := u.Read(u.Shale, keyFile); (now != old) != c.installed {
		u.Errorf("cut off at %q: a new key is in place: %v, want %v", c.name, now != old, c.installed)
	}
	u.Must(u.Shale, "rm /usr/local/bin/"+c.program)
	if c.program == "wgkeys" {
		u.Must(u.Shale, asWgkeys)
	}
	u.Must(u.Basalt, "wgkeys push --unknown shale")
	keyInstalled(u)
}

// pushFails fails where a command has not failed with an error and all of its
// words.
func pushFails(u *labtest.Users, r labtest.Result, words ...string) {
	u.Helper()
	for _, w := range append(words, "wgkeys: error: ") {
		if r.Code != ui.ExitFailed || !strings.Contains(strings.ToLower(r.Stderr), strings.ToLower(w)) {
			u.Errorf("exit %d and no %q in\n%s", r.Code, w, r.Stderr)
		}
	}
}

func pushUnreachable(u *labtest.Users) {
	u.Helper()
	u.Must(u.Shale, "pid=$(cat /run/sshd.pid); kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.01; done")
	const says = `wgkeys: error: cannot reach host "shale": ssh: connect to host 93.93.130.7 port 22: Connection refused
wgkeys: hint: ssh root@93.93.130.7 true
`
	for _, command := range []string{"push", "plan", "down"} {
		r := u.Run(u.Basalt, "wgkeys "+command+" shale")
		if r.Code != ui.ExitFailed || !strings.HasSuffix(r.Stderr, says) {
			u.Errorf("%s: exit %d, and it says\n%s", command, r.Code, r.Stderr)
		}
	}
	if err := u.Shale.StartSSHD(u.Context()); err != nil {
		u.Fatal(err)
	}
}

func pushWithoutPrograms(u *labtest.Users) {
	u.Helper()
	u.Must(u.Shale, "mv $(command -v wg) /run/away/")
	for command, says := range map[string]string{
		"push": `wgkeys: error: no way to check keys on host "shale": neither wg nor wgkeys is installed there
wgkeys: hint: wgkeys install shale, or on shale: apt install wireguard-tools
`,
		"apply": `wgkeys: error: cannot run wgkeys on host "shale": it is not installed there
wgkeys: hint: wgkeys install shale
`,
	} {
		if r := u.Run(u.Basalt, "wgkeys "+command+" shale"); r.Code != ui.ExitFailed || r.Stderr != says {
			u.Errorf("%s: exit %d, and it says\n%s", command, r.Code, r.Stderr)
		}
	}
}

// TestLabPushOneMachine: ssh_config(5) has another name for shale, and the tunnel file takes it
// for another host. No verb replaces shale's key by that host's.
func TestLabPushOneMachine(t *testing.T) {
	u := labtest.FirstUsers(t)
	u.Must(u.Basalt, `printf 'Host slate\nHostName 93.93.130.7\nUser root\nHostKeyAlias 93.93.130.7\n' >>/root/.ssh/config
		printf '[hosts.slate]\nssh = "slate"\naddresses = ["2001:db8:7767::3/128"]\n' >>tunnels/wg0.toml
		wgkeys gen -q slate; wgkeys push shale; wgkeys apply shale; wgkeys apply basalt`)
	const push = "would keep their keys in one file: .*: both names lead to one machine"
	for _, tt := range []struct {
		command, want string
		code          int
	}{
		{"push slate", push, 1},
		{"push --all", push, 3},
		{"push -n slate", push, 1},
		{"apply slate", `hint: as slate says: git pull, then wgkeys push slate`, 1},
		{"status slate", `that of shale: its disk was copied, or ssh reaches one machine by both names: wgkeys push slate`, 4},
		{"rotate -y slate", `ssh reaches one machine by both names\nwgkeys: hint: wgkeys push slate shale`, 1},
		{"rotate -y shale", `ssh reaches one machine by both names\nwgkeys: hint: wgkeys push shale slate`, 1},
	} {
		r := u.Run(u.Basalt, "wgkeys "+tt.command)
		if r.Code != tt.code || !regexp.MustCompile(tt.want).MatchString(r.Stdout+r.Stderr) {
			u.Errorf("%s: exit %d, want %d and %q\n%s%s", tt.command, r.Code, tt.code, tt.want, r.Stdout, r.Stderr)
		}
		keyInstalled(u)
	}
}
