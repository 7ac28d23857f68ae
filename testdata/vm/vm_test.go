package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain is the guest's init too: in a machine that these tests start, the
// test binary is process 1.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 {
		guest()
		return
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func debian(t *testing.T) kernel {
	t.Helper()
	k, err := findKernel(filepath.Join("..", "..", ".lab"), os.Getenv(kernelVariable))
	must(t, err)
	return k
}

// A machine runs scripts here in the place of a test binary.
func TestMachine(t *testing.T) {
	k := debian(t)
	base, err := baseArchive(t.TempDir(), k)
	must(t, err)
	for _, c := range []struct {
		name, script string
		limit        time.Duration
		status       int
		output, err  string
	}{
		{"status and output", "printf 'a\\r\\nb\\000\\n\\n'; echo $1 >&2; pwd; exit 7", time.Minute, 7,
			"a\r\nb\x00\n\n-x\nDIR\n", ""},
		{"signal", "kill -9 $$", time.Minute, 137, "", ""},
		{"kernel panic", // which takes along what is still on its way out
			"echo before; sleep 1; echo c >/proc/sysrq-trigger", time.Minute, 0, "before\n", "sysrq triggered crash"},
		{"timeout", "echo before; sleep 1000", 20 * time.Second, 0, "before\n", "no end after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			script := filepath.Join(dir, "script")
			must(t, os.WriteFile(script, []byte("#!/bin/sh\n"+c.script+"\n"), 0o755))
			test, err := testArchive(dir, job{Binary: script, Args: []string{"-x"}, Dir: dir, Env: environment()})
			must(t, err)
			var out bytes.Buffer
			m := machine{kernel: k.image, initrd: [][]byte{base, test}, stdout: &out,
				limits: limits{boot: 10 * time.Minute, test: c.limit}}
			status, err := m.run()
			if c.err == "" {
				must(t, err)
			} else if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("the error is %v, want %q", err, c.err)
			}
			if want := strings.ReplaceAll(c.output, "DIR", dir); status != c.status || out.String() != want {
				t.Errorf("status %d, output %q; want %d, %q", status, &out, c.status, want)
			}
		})
	}
}

// Each is how the packages of one Debian have it.
func TestFindKernel(t *testing.T) {
	lab := t.TempDir()
	for name, c := range map[string]struct{ image, modules string }{
		"":       {"kernel/boot/vmlinuz-6.1", "kernel/lib/modules/6.1"},
		"6.12":   {"kernel-6.12/boot/vmlinuz-6.12.1", "kernel-6.12/usr/lib/modules/6.12.1"},
		"newest": {"kernel-newest/usr/lib/modules/7.3/vmlinuz", "kernel-newest/usr/lib/modules/7.3"},
	} {
		if k, err := findKernel(lab, name); err == nil {
			t.Errorf("%q: found %v before it is there", name, k)
		}
		must(t, os.MkdirAll(filepath.Join(lab, c.modules), 0o755))
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(lab, c.image)), 0o755))
		must(t, os.WriteFile(filepath.Join(lab, c.image), nil, 0o644))
		k, err := findKernel(lab, name)
		must(t, err)
		if k.image != filepath.Join(lab, c.image) || k.modules != filepath.Join(lab, c.modules) {
			t.Errorf("%q: %+v, want %v", name, k, c)
		}
	}
}

func TestModulesInOrder(t *testing.T) {
	order, err := findModules(debian(t).modules)
	must(t, err)
	loaded := make(map[string]bool)
	for _, path := range order {
		needs, err := dependsOf(path)
		must(t, err)
		for _, need := range needs {
			builtin := !slices.ContainsFunc(order, func(p string) bool { return nameOf(p) == moduleName(need) })
			if !loaded[moduleName(need)] && !builtin {
				t.Errorf("%s comes before %s, which it needs", nameOf(path), need)
			}
		}
		loaded[nameOf(path)] = true
	}
	if !loaded["wireguard"] || !loaded["udp_tunnel"] {
		t.Errorf("wireguard, or what it needs, is not among %v", order)
	}
}

func nameOf(path string) string {
	return moduleName(strings.TrimSuffix(filepath.Base(path), ".ko"))
}

func TestArchive(t *testing.T) {
	var a archive
	a.file("/bin/x", 0o755, []byte("12345"))
	a.file("/usr/bin/x", 0o755, []byte("the same by its other name"))
	want := "070701" + "00000001" + "000041ed" + strings.Repeat("0", 16) + "00000001" + strings.Repeat("0", 48) +
		"00000004" + "00000000" + "usr\x00" + "\x00\x00" +
		"070701" + "00000002" + "000041ed" + strings.Repeat("0", 16) + "00000001" + strings.Repeat("0", 48) + "00000008" +
		"00000000" + "usr/bin\x00" + "\x00\x00" +
		"070701" + "00000003" + "000081ed" + strings.Repeat("0", 16) + "00000001" + "00000000" + "00000005" +
		strings.Repeat("0", 32) + "0000000a" + "00000000" + "usr/bin/x\x00" + "12345\x00\x00\x00"
	if got := a.buf.String(); got != want {
		t.Errorf("the archive is\n%q, want\n%q", got, want)
	}
}

func TestLibraries(t *testing.T) {
	list, err := librariesOf([]string{"/bin/sh", "/usr/bin/ldd"})
	must(t, err)
	for _, part := range []string{"/libc.so.", "/ld-linux"} {
		if !slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, part) }) {
			t.Errorf("no %s among %v", part, list)
		}
	}
}

func TestLimits(t *testing.T) {
	for arg, want := range map[string]time.Duration{
		"-test.timeout=2m0s": 2*time.Minute + grace,
		"-test.timeout=0s":   24 * time.Hour,
		"-test.run=X":        10*time.Minute + grace,
	} {
		if got := limitsOf([]string{arg}).test; got != want {
			t.Errorf("%s: %v, want %v", arg, got, want)
		}
	}
}

func TestTail(t *testing.T) {
	var last tail
	for range 10000 {
		last.Write([]byte("a line\r\n"))
	}
	last.Write([]byte("the end\r\n"))
	if got := last.String(); strings.Count(got, "\n") != 39 || !strings.HasSuffix(got, "a line\nthe end") {
		t.Errorf("the tail is %q", got)
	}
}

// The packages' files are in the machine where the packages have them, and what
// they take from here is where it is here.
func TestNetworkdFiles(t *testing.T) {
	lab := t.TempDir()
	if list, err := findNetworkd(lab).files(); len(list) > 0 || err != nil {
		t.Errorf("without the packages: %v, %v", list, err)
	}
	root := filepath.Join(lab, "managers", "networkd", "files")
	program, err := os.ReadFile("/bin/sh")
	must(t, err)
	for i, part := range networkdParts {
		if i == 0 { // as Debian 13 has it
			part = "usr/" + part
		}
		content := program
		if strings.HasSuffix(part, ".d") {
			part, content = part+"/a.conf", nil
		}
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, part)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, part), content, 0o755))
	}
	n := findNetworkd(lab)
	list, err := n.files()
	must(t, err)
	var names []string
	for _, path := range list {
		names = append(names, n.inside(path))
	}
	for _, want := range []string{"/usr/lib/systemd/systemd-networkd", "/bin/networkctl", "/usr/lib/sysusers.d/a.conf",
		"/libc.so."} {
		if !slices.ContainsFunc(names, func(s string) bool {
			return strings.Contains(s, want) && !strings.HasPrefix(s, lab)
		}) {
			t.Errorf("no %s among %v", want, names)
		}
	}
}
