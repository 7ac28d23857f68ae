package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// A process that stays tells how many goroutines it has when it is asked with SIGUSR2.
func init() {
	if !strings.HasPrefix(os.Args[0], "wgkeys-") && !slices.Contains(os.Args, "--watch") {
		return
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR2)
	go func() {
		for range asked {
			path := "/tmp/goroutines." + strconv.Itoa(os.Getpid())
			os.WriteFile(path+".new", strconv.AppendInt(nil, int64(runtime.NumGoroutine()), 10), 0o600)
			os.Rename(path+".new", path)
		}
	}()
}

// A resident is a process that stays, and what it had when it was looked at first.
type resident struct {
	u           *labtest.Users
	host        *lab.Host
	name        string // as pgrep -f finds it
	descriptors int
	goroutines  int
}

// settled looks at a process that stays.
func settled(u *labtest.Users, h *lab.Host, name string) *resident {
	u.Helper()
	r := &resident{u: u, host: h, name: name}
	r.descriptors, r.goroutines = r.size()
	return r
}

func (r *resident) size() (descriptors, goroutines int) {
	r.u.Helper()
	said := r.u.Must(r.host, `pid=$(pgrep -f '`+r.name+`') && rm -f /tmp/goroutines.$pid && kill -USR2 $pid || exit 1
		until [ -e /tmp/goroutines.$pid ]; do sleep 0.02; done
		ls /proc/$pid/fd | wc -l; cat /tmp/goroutines.$pid; rm /tmp/goroutines.$pid`)
	if _, err := fmt.Sscan(said, &descriptors, &goroutines); err != nil {
		r.u.Fatalf("%s: %q: %v", r.name, said, err)
	}
	return descriptors, goroutines
}

// same waits until the process has no more than it had: some of it may be under way.
func (r *resident) same(after string) {
	r.u.Helper()
	var descriptors, goroutines int
	r.u.Eventually(func() bool {
		descriptors, goroutines = r.size()
		return descriptors <= r.descriptors && goroutines <= r.goroutines
	})
	if descriptors > r.descriptors || goroutines > r.goroutines {
		r.u.Errorf("%s: %s has %d descriptors and %d goroutines, before %d and %d", after, r.name, descriptors, goroutines,
			r.descriptors, r.goroutines)
	}
	r.u.Logf("%s: %s has %d descriptors and %d goroutines, before %d and %d", after, r.name, descriptors, goroutines,
		r.descriptors, r.goroutines)
}

// growths is how often a process that stays gets its work.
const growths = 8

// TestLabGrowth: the device in user space, who follows names, and a rotation's processes have
// no more descriptors, goroutines or processes after work that came again and again.
func TestLabGrowth(t *testing.T) {
	u := newNamed(t, "keepalive = 3\n")
	setHosts(u, demo.ShaleAddr)
	u.Must(u.Basalt, "wgkeys apply --quiet && git init -q && git config user.name b && git config user.email b@example.net")
	shaleAnswers(u, "at first")
	u.Must(u.Basalt, "wgkeys rotate -y -q basalt")
	var all []*resident
	for _, h := range []*lab.Host{u.Basalt, u.Shale} {
		all = append(all, settled(u, h, "^wgkeys-device wg0"))
	}
	all = append(all, settled(u, u.Basalt, "^wgkeys-names wg0$"))
	processes := func(h *lab.Host) string { return u.Must(h, "pgrep -a -f '^wgkeys-' | cut -d ' ' -f 2- | sort") }
	before := processes(u.Basalt) + processes(u.Shale)
	for i := range growths {
		u.Must(u.Basalt, fmt.Sprintf("sed -i 's/^keepalive = .*/keepalive = %d/' tunnels/wg0.toml && wgkeys apply -q && wgkeys apply -q shale",
			4+i))
		setHosts(u, "93.93.130.99", demo.ShaleAddr)
		u.Must(u.Basalt, "wgkeys rotate -y -q basalt")
		u.Must(u.Basalt, "ip link set wg0 down && ip link set wg0 up && wgkeys apply -q")
		setHosts(u, demo.ShaleAddr)
		shaleAnswers(u, "again")
	}
	for _, r := range all {
		r.same(fmt.Sprintf("%d applies, rotations and names", growths))
	}
	u.Eventually(func() bool { return processes(u.Basalt)+processes(u.Shale) == before })
	if after := processes(u.Basalt) + processes(u.Shale); after != before {
		t.Errorf("the processes are\n%s, before\n%s", after, before)
	}
}

// TestLabGrowthOfAWatch: look after look, status --watch has what it had, whether hosts answer
// or not.
func TestLabGrowthOfAWatch(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, "wgkeys apply -q && wgkeys apply -q shale")
	c := u.Basalt.Command(u.Context(), "sh", "-c", "cd /root/net; exec wgkeys status --watch --every 1s --json")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill() })
	looks := func(n int) {
		t.Helper()
		for b := make([]byte, 1); n > 0; {
			if _, err := io.ReadFull(out, b); err != nil {
				t.Fatal(err)
			}
			if b[0] == '\n' {
				n--
			}
		}
	}
	looks(2)
	r := settled(u, u.Basalt, "^wgkeys status --watch")
	looks(growths)
	u.Must(u.Shale, "wgkeys down -q")
	looks(growths)
	u.Must(u.Basalt, "wgkeys apply -q shale")
	go io.Copy(io.Discard, out)
	r.same(fmt.Sprintf("%d looks", 2*growths))
	c.Process.Signal(syscall.SIGINT)
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}
