package tunnel_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"wgkeys/deploy/tunnel"
)

// TestBounds: what no person wrote is refused by the name of its file, in few words
// and in memory that is a small multiple of the text, whatever it is made of.
func TestBounds(t *testing.T) {
	const big = 16 << 20
	full := func(s string) string { return strings.Repeat(s, big/len(s)) }
	lines := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, test := range map[string]struct{ text, want string }{
		"a byte too many":      {full("# comment, = [ {\n") + strings.Repeat("#", 16), "larger than 16 MiB"},
		"deep lists":           {"mtu = " + full("[")[:big-10], "wg0.toml:1"},
		"deep inline tables":   {"a = " + strings.Repeat("{a = ", 100_000), "wg0.toml:1"},
		"a key of many parts":  {full("a.")[:big-10] + "a = 1", `a key has more than 16 parts`},
		"a header of parts":    {"\n[" + strings.Repeat("'a'.", 16) + "a]", `wg0.toml:2": a key has more than 16 parts`},
		"a long key":           {strings.Repeat("a", 1<<20) + " = 1", "is longer than the 255 bytes of a key"},
		"a long header":        {"[hosts." + strings.Repeat("a", 1<<20) + "]", "is longer than the 255 bytes of a key"},
		"a list of tables":     {"[[" + strings.Repeat("a", 1<<20) + "]]", "is a list of tables"},
		"a long string":        {"mtu = '" + full("a")[:big-10] + "'", `found the string "aaa`},
		"a string of no end":   {"mtu = \"\"\"" + full("a")[:big-10], "wg0.toml:1"},
		"many values":          {"mtu = [" + full("1,")[:big-8], "a file has more than 1048576 values"},
		"as many as there may": {"mtu = [" + strings.Repeat("1,", 1<<20-9) + "]", "found a list, want a whole number"},
		"many unknown keys":    {lines(100_000, "k%d = 1\n"), "more errors"},
		"one key many times":   {strings.Repeat("mtu = 1400\n", 500_000), "more errors"},
		"nothing but lines":    {full("\n"), "no hosts"},
		"nothing but comments": {full("# a, b = [c]\n"), "no hosts"},
		"NUL, as of a hole":    {full("\x00"), "wg0.toml:1"},
		"many hosts of a slip": {lines(50_000, "[hosts.h%d]\nmtuu = 1\n"), "more errors"},
		"quotes in a comment":  {"# ' \" '''\nmtu = [\n# \"\"\"\n]", "wg0.toml:2"},
		"escapes in a string":  {`dns = "\"` + strings.Repeat("a.", 20) + `"`, `unknown key "dns"`},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			fsys := fstest.MapFS{"wg0.toml": {Data: []byte(test.text)}}
			runtime.ReadMemStats(&before)
			_, err := tunnel.Parse(fsys, "wg0")
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 20_000 {
				t.Errorf("%.300v, of %d bytes; want %q", err, len(fmt.Sprint(err)), test.want)
			}
			allocated := after.TotalAlloc - before.TotalAlloc
			if allocated > 100<<20+uint64(len(test.text))*300 {
				t.Errorf("%d MB for %d MB of text", allocated>>20, len(test.text)>>20)
			}
			t.Logf("%d MB in all for %d kB", allocated>>20, len(test.text)>>10)
		})
	}
}

// TestReadBounded: what is no file, or a larger one than is read, makes nobody wait
// and takes no memory; drop-ins count.
func TestReadBounded(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("wg0.toml", "[hosts.a]\naddresses = [\"10.0.0.1/32\"]\nendpoint = \"192.0.2.1\"\n[hosts.b]\naddresses = "+
		"[\"10.0.0.2/32\"]\n")
	if err := os.Mkdir(filepath.Join(dir, "wg0.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	refused := func(want string) {
		t.Helper()
		if _, err := tunnel.Parse(root.FS(), "wg0"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := tunnel.Parse(root.FS(), "wg0"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"wg0.d/1.toml", "wg0.d/2.toml", "wg0.d/3.toml"} {
		write(name, strings.Repeat("#", 6<<20))
	}
	refused(`tunnels/wg0.d/3.toml": the files of a tunnel are larger`)
	for what, make := range map[string]func(path string) error{
		"are larger than 16 MiB": func(path string) error {
			return os.WriteFile(path, nil, 0o644)
		},
		"it is not a regular file": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"path escapes":             func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		path := filepath.Join(dir, "wg0.d/0.toml")
		os.Remove(path)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
			os.Truncate(path, 3<<30)
		}
		refused(what)
	}
}
