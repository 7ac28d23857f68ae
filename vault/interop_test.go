package vault

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// need returns the path of a program that the machine has to have. In CI it is
// required.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is required in CI", name)
		}
		t.Skipf("no %s here", name)
	}
	return path
}

// build builds one of age's own programs, of the version in go.mod.
func build(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	run(t, "", "go", "build", "-o", path, "filippo.io/age/cmd/"+name)
	return path
}

func run(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", filepath.Base(name), args, err, stderr.String())
	}
	return string(out)
}

// interop opens with age what we sealed, and opens what age encrypted.
func interop(t *testing.T, ageBin, keygen string, postQuantum bool) {
	wg := need(t, "wg")
	dir := t.TempDir()
	id := filepath.Join(dir, "identity.txt")
	args := []string{"-o", id}
	if postQuantum {
		args = append(args, "-pq")
	}
	run(t, "", keygen, args...)
	v := Vault{Dir: filepath.Join(dir, "vault")}
	recipients := filepath.Join(v.Dir, "recipients.txt")
	writeFile(t, recipients, "# alice\n"+run(t, "", keygen, "-y", id))
	ids := FindIdentities(Place{id, "-i", true})

	// Three recipients fill a line of the metadata's body, two do not.
	for _, n := range []int{1, 2, 3, 4} {
		host := strings.Repeat("a", n)
		k, psk := newKey(t), newPSK(t)
		if err := v.SealKey(host, "wg0.key", k, made); err != nil {
			t.Fatal(err)
		}
		if err := v.SealPSK(host, "wg0.basalt.psk", psk, made); err != nil {
			t.Fatal(err)
		}
		plain := run(t, "", ageBin, "-d", "-i", id, v.Path(host, "wg0.key"))
		if plain != string(k.File()) {
			t.Error("the private key comes out of age changed")
		}
		if public := run(t, plain, wg, "pubkey"); public != k.PublicKey().String()+"\n" {
			t.Errorf("wg pubkey: %q, want %v", public, k.PublicKey())
		}
		if plain := run(t, "", ageBin, "-d", "-i", id, v.Path(host, "wg0.basalt.psk")); plain != string(psk.File()) {
			t.Error("the PSK comes out of age changed")
		}
		for _, format := range []string{"--armor", "--encrypt"} {
			os.Remove(v.Path(host, "wg0.key"))
			run(t, string(k.File()), ageBin, format, "-R", recipients, "-o", v.Path(host, "wg0.key"))
			if _, err := v.OpenKey(host, "wg0.key", k.PublicKey(), ids); err != nil {
				t.Errorf("a file of age %s: %v", format, err)
			}
		}
		writeFile(t, recipients, readTestFile(t, recipients)+newRecipient(t, postQuantum)+"\n")
	}
	// An identity of ours is one of age's.
	ours := filepath.Join(dir, "ours.txt")
	recipient, err := NewIdentity(ours, postQuantum, made)
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, "", keygen, "-y", ours); got != recipient+"\n" {
		t.Errorf("age-keygen -y: %q, want %q", got, recipient)
	}
}

// TestInterop runs against age of the version in go.mod.
func TestInterop(t *testing.T) {
	ageBin, keygen := build(t, "age"), build(t, "age-keygen")
	t.Run("classic", func(t *testing.T) { interop(t, ageBin, keygen, false) })
	t.Run("postquantum", func(t *testing.T) { interop(t, ageBin, keygen, true) })
}

// TestInteropSystem runs against the age that the machine has: Debian's is
// older, and knows no post-quantum recipients.
func TestInteropSystem(t *testing.T) {
	interop(t, need(t, "age"), need(t, "age-keygen"), false)
}
