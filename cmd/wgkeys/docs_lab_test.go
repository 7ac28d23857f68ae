package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// TestLabDocs types all that the pages have people type, page by page from the top, on the
// hosts that they speak of.
func TestLabDocs(t *testing.T) {
	labtest.Require(t, labtest.Programs...)
	var run, elsewhere atomic.Int32
	t.Run("page", func(t *testing.T) {
		for _, page := range docPages(t) {
			blocks := blocksOf(t, page)
			if len(blocks) == 0 {
				continue
			}
			t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
				t.Parallel()
				r := newReader(t)
				for i := range blocks {
					if blocks[i].elsewhere != "" {
						elsewhere.Add(1)
						someTest(t, &blocks[i])
						continue
					}
					run.Add(1)
					r.follow(&blocks[i])
				}
			})
		}
	})
	t.Logf("%d blocks were run here, %d name the test that runs them", run.Load(), elsewhere.Load())
}

// A reader does on basalt what a page says.
type reader struct {
	*labtest.Users
	hosts map[string]*lab.Host
}

// cast are the hosts beside basalt and shale that pages speak of. Each has its own network,
// and basalt may log in by name.
var cast = []string{"slate", "hub", "web1", "web2", "web3", "db1"}

func newReader(t *testing.T) *reader {
	t.Helper()
	n, err := demo.NewNetwork(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	r := &reader{&labtest.Users{Network: n, T: t}, map[string]*lab.Host{"basalt": n.Basalt, "shale": n.Shale}}
	if err := n.Router.IP("address add 2001:db8:5::1/64 dev shale0"); err != nil { // as one that advertises a prefix has
		t.Fatal(err)
	}
	names := demo.ShaleAddr + " shale shale.example.net\n192.0.2.10 basalt\n"
	for i, name := range cast {
		r.hosts[name] = r.join(name, i)
		names += fmt.Sprintf("198.51.100.%d %s %[2]s.example.net\n", 4*i+2, name)
	}
	for _, h := range r.hosts {
		r.Write(h, "/etc/hosts", "127.0.0.1 localhost\n"+names)
	}
	if err := errors.Join(n.Trust(t.Context(), n.Basalt, n.Shale, "shale", "shale.example.net")); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reader) join(name string, i int) *lab.Host {
	r.Helper()
	self, err := os.Executable()
	if err != nil {
		r.Fatal(err)
	}
	h := r.NewHost(name)
	gateway, own := fmt.Sprintf("198.51.100.%d", 4*i+1), fmt.Sprintf("198.51.100.%d", 4*i+2)
	if err := errors.Join(
		h.Install("wgkeys", self),
		r.Link(h, "eth0", r.Router, name+"0"),
		r.Router.IP("address add "+gateway+"/30 dev "+name+"0"),
		h.IP("address add "+own+"/30 dev eth0"),
		h.IP("route add default via "+gateway),
		h.StartSSHD(r.Context()),
		r.Trust(r.Context(), r.Basalt, h, name, name+".example.net"),
	); err != nil {
		r.Fatal(err)
	}
	return h
}

// follow does what one block says.
func (r *reader) follow(b *block) {
	r.Helper()
	h := r.Basalt
	if b.on != "" {
		if h = r.hosts[b.on]; h == nil {
			r.Fatalf("%s: there is no host %s", b, b.on)
		}
	}
	for _, command := range b.before {
		if out, code := r.typed(r.Basalt, command, 0); code != 0 {
			r.Fatalf("%s: before it: %s: exit %d\n%s", b, command, code, out)
		}
	}
	if b.path != "" {
		to := ">"
		if b.append {
			to = ">>"
		}
		text := "mkdir -p $(dirname " + b.path + ") && cat " + to + b.path + " <<'END'\n" + b.text + "END"
		if out, code := r.typed(h, text, 0); code != 0 {
			r.Fatalf("%s: %s\n%s", b, b.path, out)
		}
		return
	}
	var printed strings.Builder
	for _, command := range b.commands {
		out, code := r.typed(h, command, b.limit)
		printed.WriteString(out)
		if code != b.exits {
			r.Fatalf("%s: %s: exit %d\n%s", b, command, code, out)
		}
	}
	got := alike(printed.String())
	for _, line := range b.shown {
		if strings.Contains(line, "net.ipv6.conf.") { // which are others on other kernels
			continue
		}
		if line = strings.TrimSpace(alike(line)); !strings.Contains(got, line) {
			r.Errorf("%s: nothing prints the line\n%s\nbut\n%s", b, line, got)
		}
	}
}

var number = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)

// alike takes out of a text what is another at each run: keys and numbers.
func alike(text string) string {
	return number.ReplaceAllString(publicKey().ReplaceAllString(text, "KEY"), "N")
}

// typed runs a command in the folder where the one before has left off.
func (r *reader) typed(h *lab.Host, command string, limit time.Duration) (output string, code int) {
	r.Helper()
	const at = "/run/docs.at"
	run := "cd \"$(cat " + at + " 2>/dev/null || echo /root)\" && { " + command +
		"\n}; code=$?; pwd >" + at + "; exit $code"
	words := []string{"bash", "-c", run}
	if limit > 0 {
		words = append([]string{"timeout", "--preserve-status", "-s", "INT", fmt.Sprint(limit.Seconds())}, words...)
	}
	var out strings.Builder
	cmd := h.Command(r.Context(), words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		r.Fatalf("%s: %s: %v", h.Name(), command, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// someTest fails where what is said to run a block is not there.
func someTest(t *testing.T, b *block) {
	t.Helper()
	target, isTarget := strings.CutPrefix(b.elsewhere, "make ")
	where, what := "*_test.go", "func "+b.elsewhere+"("
	if isTarget {
		where, what = "../../Makefile", "\n"+target+":"
	}
	files, _ := filepath.Glob(where)
	for _, file := range files {
		if text, _ := os.ReadFile(file); strings.Contains(string(text), what) {
			return
		}
	}
	t.Errorf("%s: there is no %s", b, b.elsewhere)
}
