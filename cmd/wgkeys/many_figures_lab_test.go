package main

import (
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

var spokesOf = flag.Int("spokes", 200, "hosts of -long many")

// TestLabManyFigures: a hundred and more hosts, each a namespace with an sshd of its own,
// beside xargs(1) that runs true on them over the same ssh. Recorded in doc/measured/many.md.
func TestLabManyFigures(t *testing.T) {
	if !long("many") {
		t.Skip("make many takes it")
	}
	program := filepath.Join(t.TempDir(), "wgkeys")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := labtest.NewStarOf(t, *spokesOf, program)
	var table strings.Builder
	fmt.Fprintf(&table, "\n| %d hosts | time | times xargs | processor, admin's | times xargs | hosts a second and core |\n|---|---|---|---|---|---|\n", len(s.Spokes))
	f := manyRows{s, &table}
	f.rows()
	t.Log(table.String())
}

type manyRows struct {
	*labtest.Star
	table *strings.Builder
}

// atOnce is how many hosts each way works on at once.
const atOnce = 16

// rows takes each row beside the yardstick, before and after it.
func (f manyRows) rows() {
	push := f.row("push, first", 1, fmt.Sprintf("wgkeys push -q -j %d --all", atOnce))
	f.ansible(push)
	f.row("push, nothing to do", 1, fmt.Sprintf("wgkeys push -q -j %d --all", atOnce))
	f.Must(f.Hub, "wgkeys push -q hub && wgkeys apply -q")
	f.row("plan", 1, fmt.Sprintf("wgkeys plan -q -j %d --all || [ $? = 4 ]", atOnce))
	f.row("apply", 2, fmt.Sprintf("wgkeys apply -q -j %d --all", atOnce))
	f.row("plan, nothing to do", 1, fmt.Sprintf("wgkeys plan -q -j %d --all", atOnce))
	f.row("apply, nothing to do", 1, fmt.Sprintf("wgkeys apply -q -j %d --all", atOnce))
	for _, h := range f.Spokes {
		f.Must(h, "ping -n -q -c 1 -w 60 "+labtest.InsideOf(0).String())
	}
	f.row("status", 1, fmt.Sprintf("wgkeys status -j %d --all", atOnce))
	f.Tunnel(f.File("keepalive = 25"))
	f.row("apply, a change of a peer", 2, fmt.Sprintf("wgkeys apply -q -j %d --all", atOnce))
}

// A cost is what a command takes.
type cost struct {
	wall time.Duration
	cpu  time.Duration // of it and its children, on the machine of the admin; not that of the hosts
}

// row times a command between two times of xargs, which the bar is so many of.
func (f manyRows) row(name string, connections int, command string) cost {
	before, took, after := f.xargs(), f.time(command), f.xargs()
	wall := min(before.wall, after.wall) * time.Duration(connections)
	cpu := min(before.cpu, after.cpu) * time.Duration(connections)
	fmt.Fprintf(f.table, "| %s | %.1f s | %.2f | %.1f s | %.2f | %.0f |\n", name, took.wall.Seconds(),
		took.wall.Seconds()/wall.Seconds(),
		took.cpu.Seconds(), took.cpu.Seconds()/cpu.Seconds(), float64(len(f.Spokes))/took.cpu.Seconds())
	f.Logf("%s: %v, %.2f times %d of xargs; on the admin's machine %v, %.2f times", name, took.wall,
		took.wall.Seconds()/wall.Seconds(), connections,
		took.cpu, took.cpu.Seconds()/cpu.Seconds())
	return took
}

// ansible has ansible(1) bring the same files, which it gets in the clear.
func (f manyRows) ansible(push cost) {
	if f.Users.Run(f.Hub, "command -v ansible").Code != 0 {
		f.Fatal("no ansible: make many installs it")
	}
	var inventory strings.Builder
	f.Must(f.Hub, "mkdir -m 700 /run/clear")
	for i, h := range f.Spokes {
		fmt.Fprintf(&inventory,
			"%s ansible_host=198.18.%d.%d ansible_user=root ansible_python_interpreter=/usr/bin/python3\n", h.Name(), (i+1)/250,
			(i+1)%250+1)
		f.Write(f.Hub, "/run/clear/"+h.Name(), f.Read(h, keyFile))
		f.Must(h, "rm "+keyFile)
	}
	f.Write(f.Hub, "/run/inventory", inventory.String())
	took := f.time(fmt.Sprintf("ansible all -i /run/inventory -f %d -m copy -a 'src=/run/clear/{{ inventory_hostname }} dest=%s mode=0600' >/run/said || { tail /run/said >&2; exit 1; }", atOnce, keyFile))
	f.Must(f.Hub, "rm -r /run/clear && wgkeys push -q -n -j 16 --all")
	fmt.Fprintf(f.table, "| the same files by ansible | %.1f s | %.1f times push | %.1f s | %.1f times push | |\n",
		took.wall.Seconds(), took.wall.Seconds()/push.wall.Seconds(),
		took.cpu.Seconds(), took.cpu.Seconds()/push.cpu.Seconds())
	f.Logf("ansible: %v, %.1f times push", took.wall, took.wall.Seconds()/push.wall.Seconds())
}

func (f manyRows) xargs() cost {
	return f.time(fmt.Sprintf("sed -n 's/^ssh = \"\\(.*\\)\"/\\1/p' tunnels/wg0.toml | xargs -P %d -I{} ssh -T -a -x {} true", atOnce))
}

func (f manyRows) time(command string) cost {
	f.Helper()
	var said strings.Builder
	cmd := f.Hub.Command(f.Context(), "sh", "-c", "cd /root/net && { "+command+"\n}")
	cmd.Stderr = &said
	start := time.Now()
	if err := cmd.Run(); err != nil {
		f.Fatalf("%s: %v\n%s", command, err, said.String())
	}
	return cost{time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
}

// TestLabManyBroken: a tenth of the hosts are broken in ten ways. The others are done, each
// that is not is named with its reason, and the command that is printed does the rest.
func TestLabManyBroken(t *testing.T) {
	n := 20
	if long("many") {
		n = *spokesOf
	} else {
		t.Parallel()
	}
	s := labtest.NewStar(t, n)
	starExits(s, ui.ExitDone, "wgkeys push -q -j 16 --all hub && wgkeys apply -q hub")
	mend := map[string]string{}
	for i := range n / 10 {
		for j, b := range breaks[i%2*5 : i%2*5+5] {
			if k := 10*i + j; k < n && len(mend) < n/10 {
				s.Must(s.Spokes[k], b.how)
				mend[s.Spokes[k].Name()] = b.mend
			}
		}
	}
	broken(s, mend)
}

// breaks are ten ways in which a host does not do what it is told.
var breaks = []struct{ how, mend string }{
	{"kill $(cat /run/sshd.pid)", "$(command -v sshd) -E /run/sshd.log"},
	{"mv /usr/local/bin/wgkeys /run/away", "mv /run/away /usr/local/bin/wgkeys"},
	{"ip link add wg0 type bridge", "ip link del wg0"},
	{"rm /etc/wireguard/wg0.key", ""}, // the next push installs it
	{"ip link set eth0 down", "ip link set eth0 up"},
	{"mv /root/.ssh/authorized_keys /root/.ssh/away", "mv /root/.ssh/away /root/.ssh/authorized_keys"},
	{"printf '#!/bin/sh\\nexit 1\\n' >/run/false; chmod +x /run/false; mount --bind /run/false /usr/local/bin/wgkeys",
		"umount /usr/local/bin/wgkeys"},
	{"rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; kill $(cat /run/sshd.pid); sleep 0.2; $(command -v sshd) -E /run/sshd.log", ""},
	{"mount -t tmpfs -o ro none /run/wgkeys || { mkdir -p /run/wgkeys; mount -t tmpfs -o ro none /run/wgkeys; }",
		"umount /run/wgkeys"},
	{"printf '#!/bin/sh\\nkill -9 $PPID $$\\n' >/run/dies; chmod +x /run/dies; mount --bind /run/dies /usr/local/bin/wgkeys", "umount /usr/local/bin/wgkeys"},
}

func broken(s *labtest.Star, mend map[string]string) {
	r := starExits(s, ui.ExitSome, "wgkeys apply -j 16 --timeout 6s --all")
	_, rest, _ := strings.Cut(r.Stderr, "once that is fixed: ")
	named := strings.Fields(rest)
	var want []string
	for host := range mend {
		want = append(want, host)
		if !strings.Contains(r.Stderr, "host \""+host+"\": ") || !strings.Contains(r.Stderr, "\n"+host+": failed\n") {
			s.Errorf("no reason for %s", host)
		}
	}
	slices.Sort(want)
	if got := named[slices.Index(named, "--timeout")+2:]; !slices.Equal(got, want) {
		s.Fatalf("the rest is %v, want %v\n%s", got, want, r.Stderr)
	}
	s.Logf("what it says:\n%s", r.Stderr)
	for _, h := range s.Spokes {
		if how := mend[h.Name()]; how != "" {
			s.Must(h, how)
		}
	}
	s.Must(s.Hub, "rm -f /root/.ssh/known_hosts")
	for _, h := range s.Spokes { // one has another host key, and one no key file
		if how, ok := mend[h.Name()]; ok && how == "" {
			if err := s.Lab.Trust(s.Context(), s.Hub, h); err != nil {
				s.Fatal(err)
			}
		}
	}
	starExits(s, ui.ExitDone, "wgkeys push -q "+strings.Join(want, " "))
	starExits(s, ui.ExitDone, strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
	starExits(s, ui.ExitDone, "wgkeys plan --all hub")
}

// TestLabManyBatch: a tunnel file that cuts hosts off, and one that breaks the tunnel. The
// first batch is back by itself, and no more hosts were begun.
func TestLabManyBatch(t *testing.T) {
	n, batch := 9, 3
	if long("many") {
		n, batch = *spokesOf, 10
	} else {
		t.Parallel()
	}
	s := labtest.NewStar(t, n)
	starExits(s, ui.ExitDone, "wgkeys push -q -j 16 --all hub && wgkeys apply -q hub && wgkeys apply -q -j 16 --all")
	for _, h := range s.Spokes {
		s.Must(h, "ping -n -q -c 1 -w 60 "+labtest.InsideOf(0).String())
	}
	for _, h := range s.Spokes { // by its INSIDE address too
		if err := s.Lab.Trust(t.Context(), s.Hub, h); err != nil {
			t.Fatal(err)
		}
	}
	through := strings.ReplaceAll(s.File("keepalive = 1"), "root@198.18.", "root@10.77.")
	t.Run("cut off", func(t *testing.T) {
		s := s.With(t)
		s.Tunnel(strings.Replace(through, labtest.InsideOf(0).String()+"/16", "10.77.200.1/16", 1))
		backByItself(s, batch, s.File(""))
	})
	t.Run("no tunnel", func(t *testing.T) {
		s := s.With(t)
		s.Tunnel(s.File("keepalive = 1"))
		s.Must(s.Hub, "cp keyring/hub/wg0.pub /run/hub.pub && wg genkey | wg pubkey >keyring/hub/wg0.pub")
		backByItself(s, batch, s.File(""))
	})
}

// backByItself applies what leaves no host well, and then wants all as it was by the file.
func backByItself(s *labtest.Star, batch int, file string) {
	s.Helper()
	r := starExits(s, ui.ExitFailed, fmt.Sprintf("wgkeys apply --all --batch %d --confirm 20s --timeout 5s", batch))
	if want := fmt.Sprintf("%d failed, see above, and %d not begun: ", batch,
		len(s.Spokes)-batch); !strings.Contains(r.Stderr, want) {
		s.Errorf("no %q in\n%s", want, r.Stderr)
	}
	s.Logf("it says\n%s", r.Stderr)
	s.Must(s.Hub, "test ! -e /run/hub.pub || cp /run/hub.pub keyring/hub/wg0.pub")
	s.Tunnel(file)
	for _, h := range s.Spokes[:batch] {
		s.Until(h.Name()+" to be back", func() bool {
			return s.Users.Run(h, "ping -n -q -c 1 -W 1 "+labtest.InsideOf(0).String()).Code == 0
		})
	}
	s.Until("all to be as before", func() bool { return s.Users.Run(s.Hub, "wgkeys plan -q -j 16 --all").Code == 0 })
}
