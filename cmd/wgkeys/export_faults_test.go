//go:build amd64

package main

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/faulttest"
	"wgkeys/cmd/internal/ui"
)

// TestExportFaults: whatever goes wrong with an export into a folder that does not exist, the
// folder is there whole or not at all, and after an error nothing is left beside it.
func TestExportFaults(t *testing.T) {
	x := newExportFaults(t)
	x.sweep(func(ended string, files map[string]string) string {
		there := maps.Clone(files)
		maps.DeleteFunc(there, func(name, _ string) bool { return !strings.HasPrefix(name, "out") })
		switch {
		case len(there) > 0 && !maps.Equal(there, x.whole):
			return "the folder is not whole"
		case ended != "killed" && len(there) < len(files):
			return "something is left"
		}
		return ""
	})
}

// TestExportFaultsReplaced: in a folder that exists each file is the old one or the new one, what
// else there is stays, and after an error nothing is left.
func TestExportFaultsReplaced(t *testing.T) {
	x := newExportFaults(t)
	const old, mine = "out/hub/wg0.conf", "out/mine"
	x.before = func() error {
		return errors.Join(os.MkdirAll(filepath.Join(x.work, "out/hub"), 0o755),
			os.WriteFile(filepath.Join(x.work, old), []byte("old"), 0o600),
			os.WriteFile(filepath.Join(x.work, mine), []byte("mine"), 0o600))
	}
	x.sweep(func(ended string, files map[string]string) string {
		if files[mine] != "mine" || files[old] != "old" && files[old] != x.whole[old] {
			return "what was there is lost"
		}
		for name, text := range files {
			ours := name != mine && name != old && text != x.whole[name]
			if ours && (ended != "killed" || !strings.Contains(name, ".wgkeys.")) {
				return name + " is left"
			}
		}
		return ""
	})
}

// exportFaults are an export of two hosts into the folder "out" of work.
type exportFaults struct {
	*testing.T
	dir, work string
	before    func() error      // prepares work; may be nil
	whole     map[string]string // what is in work at the end, if nothing goes wrong
}

func newExportFaults(t *testing.T) *exportFaults {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	x := &exportFaults{T: t, dir: dir, work: filepath.Join(dir, "work")}
	net := filepath.Join(dir, "net")
	x.must("init", "-q", "--classic", net)
	const text = "[hosts.hub]\nendpoint = \"192.0.2.1\"\naddresses = [\"10.0.0.1/32\"]\n" +
		"[hosts.spoke]\naddresses = [\"10.0.0.2/32\"]\n"
	if err := os.WriteFile(filepath.Join(net, "tunnels/wg0.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	x.must("gen", "-q", "-C", net, "hub", "spoke")
	x.must(x.command()...)
	x.whole = x.files()
	return x
}

func (x *exportFaults) command() []string {
	return []string{"export", "-q", "-C", filepath.Join(x.dir, "net"), "--all", filepath.Join(x.work, "out")}
}

func (x *exportFaults) must(args ...string) {
	x.Helper()
	if out, err := exec.Command("wgkeys", args...).CombinedOutput(); err != nil {
		x.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// files are those in work, and what is in them.
func (x *exportFaults) files() map[string]string {
	x.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(x.work, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == x.work {
			return err
		}
		name, err := filepath.Rel(x.work, path)
		if err != nil || e.IsDir() {
			all[name] = "a folder"
			return err
		}
		text, err := os.ReadFile(path)
		all[name] = string(text)
		return err
	})
	if err != nil {
		x.Fatal(err)
	}
	return all
}

// sweep tries each fault at each write. The function says what is wrong after it, or nothing.
func (x *exportFaults) sweep(wrong func(ended string, files map[string]string) string) {
	x.Helper()
	_, out, points := x.run(faulttest.Case{Fault: "none", Point: "-"})
	if len(points) < 10 {
		x.Fatalf("it writes only %q\n%s", points, out)
	}
	ends := map[string]int{}
	for _, c := range faulttest.Cases(points) {
		code, out, trace := x.run(c)
		if !slices.Contains(trace, "HIT") {
			x.Errorf("%s: it was not come to\n%s%q", c, out, trace)
			continue
		}
		ended := c.End(code, out, ui.ExitFailed)
		ends[ended]++
		if ended == "" || c.Fault == "ENOSPC" && !strings.Contains(out, "hint: df -h "+x.work) {
			x.Errorf("%s: exit %d\n%s", c, code, out)
		}
		if why := wrong(ended, x.files()); why != "" {
			x.Errorf("%s: %s: %s\n%q", c, out, why, x.files())
		}
	}
	x.Log(ends)
}

// run runs the export with a fault.
func (x *exportFaults) run(c faulttest.Case) (code int, out string, trace []string) {
	x.Helper()
	err := errors.Join(os.RemoveAll(x.work), os.Mkdir(x.work, 0o755))
	if err == nil && x.before != nil {
		err = x.before()
	}
	if err != nil {
		x.Fatal(err)
	}
	path := filepath.Join(x.dir, "trace")
	cmd := exec.Command("hit", append([]string{x.work, path, c.Fault, c.Point, "wgkeys"}, x.command()...)...)
	said, _ := cmd.CombinedOutput()
	text, err := os.ReadFile(path)
	if err != nil {
		x.Fatalf("%s: %v\n%s", c, err, said)
	}
	return cmd.ProcessState.ExitCode(), string(said), strings.Split(string(text), "\n")
}
