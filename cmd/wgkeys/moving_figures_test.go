package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"wgkeys/keyring"
)

// BenchmarkMoving is `make moving`: one import of ten thousand peers beside `wg setconf`,
// which reads the same and then finds no interface, and one export of a thousand hosts
// beside the writing of the same bytes. The clock tells of the machine's other work too, so
// processor time is printed beside it; neither decides anything. doc/measured/moving.md records
// it.
func BenchmarkMoving(b *testing.B) {
	if testing.Short() {
		b.Skip("make moving")
	}
	// In this order: where ext4 has no journal, whoever makes files passes over each inode
	// that was freed in the last minutes (recently_deleted in Linux's fs/ext4/ialloc.c), and
	// the import's are ten thousand.
	b.Run("export", benchmarkExport)
	b.Run("import", benchmarkImport)
}

// spent runs a program and logs the time that it took, by the clock and of processors.
func spent(b *testing.B, what string, mayFail bool, name string, args ...string) {
	b.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil && !mayFail {
		b.Fatalf("%s: %v\n%.300s", what, err, stderr.String())
	}
	s := cmd.ProcessState
	b.Logf("%s: %.2f s, processors %.2f s", what, time.Since(start).Seconds(), (s.UserTime() + s.SystemTime()).Seconds())
}

func newPublicKey(b *testing.B) keyring.PublicKey {
	k, err := keyring.GeneratePrivateKey()
	if err != nil {
		b.Fatal(err)
	}
	return k.PublicKey()
}

func benchmarkImport(b *testing.B) {
	const peers = 10_000
	dir := b.TempDir()
	k, err := keyring.GeneratePrivateKey()
	if err != nil {
		b.Fatal(err)
	}
	var wg, quick bytes.Buffer
	fmt.Fprintf(&wg, "[Interface]\nPrivateKey = %sListenPort = 51820\n", k.File())
	fmt.Fprintf(&quick, "%sAddress = 10.0.0.1/8\n", wg.Bytes())
	public := make([]string, peers)
	for i := range peers {
		public[i] = newPublicKey(b).String()
		peer := fmt.Sprintf("[Peer]\nPublicKey = %s\nEndpoint = 192.0.2.%d:%d\nAllowedIPs = 10.%d.%d.%d/32\n", public[i],
			i%250+1, 1024+i,
			1+i>>16, i>>8&255, i&255)
		wg.WriteString(peer)
		quick.WriteString(peer)
	}
	for name, text := range map[string][]byte{"wg.conf": wg.Bytes(), "wg0.conf": quick.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	net, conf := filepath.Join(dir, "net"), filepath.Join(dir, "wg0.conf")
	b.Setenv("XDG_CONFIG_HOME", dir)
	spent(b, "wgkeys init", false, "wgkeys", "init", "-q", "--classic", net)
	for b.Loop() {
		spent(b, "wg setconf", true, "wg", "setconf", "none", filepath.Join(dir, "wg.conf"))
		spent(b, "wgkeys import -n", false, "wgkeys", "import", "-n", "--host", "hub", conf)
		spent(b, "wgkeys import", false, "wgkeys", "import", "-q", "-C", net, "--host", "hub", conf)
		plainly(b, filepath.Join(net, "keyring"), filepath.Join(dir, "plain"))
		if err := os.RemoveAll(filepath.Join(net, "tunnels/wg0.toml")); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkExport(b *testing.B) {
	const hosts = 1000
	dir := b.TempDir()
	net, out := filepath.Join(dir, "net"), filepath.Join(dir, "out")
	b.Setenv("XDG_CONFIG_HOME", dir)
	spent(b, "wgkeys init", false, "wgkeys", "init", "-q", "--classic", net)
	text := "[hosts.hub]\nendpoint = \"192.0.2.1\"\naddresses = [\"10.0.0.1/16\"]\n"
	keys := map[string]keyring.PublicKey{"hub": newPublicKey(b)}
	for i := range hosts - 1 {
		host := fmt.Sprintf("h%d", i)
		text += fmt.Sprintf("[hosts.%s]\naddresses = [\"10.0.%d.%d/32\"]\n", host, 1+i/250, i%250)
		keys[host] = newPublicKey(b)
	}
	err := keyring.Ring{Dir: filepath.Join(net, "keyring")}.PutAll("wg0", keys)
	if err == nil {
		err = os.WriteFile(filepath.Join(net, "tunnels/wg0.toml"), []byte(text), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		spent(b, "wgkeys export --all", false, "wgkeys", "export", "-C", net, "--all", out)
		plainly(b, out, filepath.Join(dir, "plain"))
	}
}

// plainly logs how long it takes to write the files below from again, below to: with no
// temporary files, and nothing brought to the disk.
func plainly(b *testing.B, from, to string) {
	b.Helper()
	texts, folders := map[string][]byte{}, []string{}
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(from, path)
		switch {
		case err != nil || relErr != nil:
			return fmt.Errorf("%w, %w", err, relErr)
		case e.IsDir():
			folders = append(folders, name)
			return nil
		}
		texts[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.RemoveAll(to); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	for _, name := range folders {
		err = os.Mkdir(filepath.Join(to, name), 0o755)
		if err != nil {
			b.Fatal(err)
		}
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(to, name), text, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("the same files, plainly: %.2f s", time.Since(start).Seconds())
}
