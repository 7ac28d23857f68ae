package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/parallel"
	"wgkeys/vault"
)

// manyHosts is the size of the largest network that wgkeys is for.
const manyHosts = 10_000

// checkLimit is how long check should take for that many hosts, on two cores.
const checkLimit = 2 * time.Second

// newLargeRepo is a repository of n hosts, each with a key that is encrypted to
// three recipients. It lies in memory where it can: a fsync for each file would
// take minutes and tell nothing.
func newLargeRepo(tb testing.TB, n int) string {
	tb.Helper()
	base := ""
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		base = "/dev/shm"
	}
	dir, err := os.MkdirTemp(base, "wgkeys-check-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	var recipients, file strings.Builder
	for i := range 3 {
		r, err := vault.NewIdentity(filepath.Join(tb.TempDir(), "identity.txt"), false, time.Unix(0, 0))
		if err != nil {
			tb.Fatal(err)
		}
		fmt.Fprintf(&recipients, "# admin%d\n%s\n", i, r)
	}
	file.WriteString("[hosts.hub]\nendpoint = \"192.0.2.1\"\naddresses = [\"10.0.0.1/8\"]\n")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&file, "[hosts.h%d]\naddresses = [\"10.%d.%d.%d/8\"]\n", i, (i+1)>>16, (i+1)>>8&255, (i+1)&255)
	}
	net := filepath.Join(dir, "net")
	for name, text := range map[string]string{repo.Marker: "", "vault/recipients.txt": recipients.String(),
		"tunnels/wg0.toml": file.String(), "keyring/.keep": ""} {
		path := filepath.Join(net, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	r, err := repo.Find(net)
	if err != nil {
		tb.Fatal(err)
	}
	parallel.Queue(n, func(i int) {
		host := fmt.Sprintf("h%d", i)
		if i == 0 {
			host = "hub"
		}
		k, err := keyring.GeneratePrivateKey()
		if err == nil {
			err = r.Vault.SealKey(host, "wg0.key", k, time.Unix(0, 0))
		}
		if err == nil {
			err = r.Ring.Put(host, "wg0", k.PublicKey())
		}
		if err != nil {
			tb.Error(err)
		}
	})
	return net
}

// checkOnce is a check without an identity, of which nothing is wrong.
func checkOnce(tb testing.TB, dir string) time.Duration {
	tb.Helper()
	var said strings.Builder
	begin := time.Now()
	err := run(func(*ui.UI, string) context.Context { return tb.Context() }, &ui.UI{Stdout: &said, Stderr: io.Discard},
		[]string{"wgkeys", "check", "-C", dir})
	took := time.Since(begin)
	if err != nil || said.Len() > 0 {
		tb.Fatalf("%v\n%.2000s", err, said.String())
	}
	return took
}

// cpuTime is what the process has had of all cores.
func cpuTime(tb testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestCheckManyHosts: check without an identity finds nothing wrong with ten
// thousand good hosts. It tells how long it took, beside what is wanted; a machine
// with other work would make a time that decides a matter of luck.
func TestCheckManyHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("makes ten thousand keys")
	}
	t.Setenv("HOME", t.TempDir()) // an identity of the user's is looked at
	dir := newLargeRepo(t, manyHosts)
	before := cpuTime(t)
	took := checkOnce(t, dir)
	worked := cpuTime(t) - before
	t.Logf("%d hosts checked in %v, wanted %v; %v of all cores", manyHosts, took.Round(time.Millisecond), checkLimit,
		worked.Round(time.Millisecond))
}

func BenchmarkCheckManyHosts(b *testing.B) {
	dir := newLargeRepo(b, manyHosts)
	for b.Loop() {
		checkOnce(b, dir)
	}
}
