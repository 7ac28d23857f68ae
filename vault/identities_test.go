package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wgkeys/keyring/fault"
)

func TestNewIdentity(t *testing.T) {
	for _, postQuantum := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "config", "wgkeys", "identity.txt")
		recipient, err := NewIdentity(path, postQuantum, made)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		text := readTestFile(t, path)
		if head := "# created: 2026-01-02T15:04:05+01:00\n# public key: " + recipient +
			"\nAGE-SECRET-KEY-"; !strings.HasPrefix(text, head) {
			t.Errorf("the file does not begin with %q", head)
		}
		ids := FindIdentities(Place{path, "-i", true})
		got, err := ids.Recipients()
		if diff := cmp.Diff([]string{recipient}, got); diff != "" || err != nil {
			t.Errorf("Recipients: %v\n%s", err, diff)
		}
		if w := ids.Warnings(); len(w) != 0 {
			t.Errorf("warnings %v", w)
		}
		if _, err := NewIdentity(path, postQuantum, made); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a second identity: %v", err)
		}
		if readTestFile(t, path) != text {
			t.Error("it was overwritten")
		}
	}
}

func TestIdentitiesFail(t *testing.T) {
	secret, recipient, err := generate(false)
	if err != nil {
		t.Fatal(err)
	}
	changed := secret[:30] + map[bool]string{true: "P", false: "Q"}[secret[30] == 'Q'] + secret[31:]
	// age's own message says more of these; of others it does not.
	age := []string{"a changed character", "a wrong letter", "a plugin's", "under a passphrase, cut short",
		"under a passphrase, binary, cut short", "too large"}
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "no identity in it"},
		{"comments", "# created\n\n", "no identity in it"},
		{"a changed character", "# a\n" + changed + "\n", "line 2: a character"},
		{"lower case", strings.ToLower(secret) + "\n", "line 1: age takes identities in capital letters alone"},
		{"a space before", " " + secret + "\n", "line 1: there is a space before or after"},
		{"a space after", secret + " \n", "line 1: there is a space before or after"},
		{"another text", "hello\n", "line 1: an identity begins with"},
		{"a wrong letter", secret[:30] + "!" + secret[31:] + "\n", "line 1: a character"},
		{"a recipient", secret + "\n" + recipient + "\n", "line 2: a recipient"},
		{"a plugin's", "AGE-PLUGIN-YUBIKEY-1QQQQ\n", "line 1: a character"},
		{"under a passphrase, cut short", "-----BEGIN AGE ENCRYPTED FILE-----\n", "armor is cut short"},
		{"under a passphrase, binary, cut short", "age-encryption.org/v1\n-> scrypt", "header is cut short"},
		{"encrypted to a recipient", header(""), "not under a passphrase"},
		{"PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no SSH key"},
		{"too large", strings.Repeat("#\n", maxIdentities), "larger than 1 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "identity.txt")
			writeFile(t, path, test.text)
			os.Chmod(path, 0o600)
			err := FindIdentities(Place{path, "-i", true}).use()
			f, ok := errors.AsType[*fault.Fault](err)
			if !ok || f.File != path || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v does not say %q", err, test.want)
			}
			hintsAtAge(t, f, slices.Contains(age, test.name))
			if err != nil && strings.Contains(err.Error(), secret[20:28]) {
				t.Errorf("%v shows the identity", err)
			}
			ids := FindIdentities(Place{path, "a default", false})
			if err := ids.use(); err != nil || !ids.found.empty() {
				t.Errorf("a default place must not fail: %v", err)
			}
			if places := strings.Join(ids.searched(), "\n"); !strings.Contains(places, path+" (a default): ") ||
				!strings.Contains(places, test.want) {
				t.Errorf("%q does not say %q", places, test.want)
			}
		})
	}
	err = FindIdentities(Place{"/nowhere/id.txt", "WGKEYS_IDENTITY", true}).use()
	if err == nil || !strings.Contains(err.Error(), `"/nowhere/id.txt": no such file`) {
		t.Errorf("an explicit file that is not there: %v", err)
	}
}

// hintsAtAge fails unless the hint is, or is not, to have age read the file.
func hintsAtAge(t *testing.T, f *fault.Fault, want bool) {
	t.Helper()
	if f != nil && strings.HasPrefix(f.Hint, "age-keygen") != want {
		t.Errorf("the hint is %q", f.Hint)
	}
}

func TestIdentitiesLoose(t *testing.T) {
	v, _ := newVault(t, false)
	path := filepath.Join(filepath.Dir(v.Dir), "identity.txt")
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o400: 0, 0o640: 1, 0o604: 1, 0o644: 1} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		ids := FindIdentities(Place{path, "-i", true})
		if w := ids.Warnings(); len(w) != 0 {
			t.Errorf("%o: a file that was not read: %v", mode, w)
		}
		if _, err := ids.Recipients(); err != nil {
			t.Fatal(err)
		}
		w := ids.Warnings()
		if len(w) != want {
			t.Errorf("%o: warnings %v", mode, w)
		}
		if want == 1 && (w[0].File != path || w[0].Hint != "chmod 600 "+path) {
			t.Errorf("%o: %+v", mode, w[0])
		}
	}
}

// TestIdentitiesOnce: the files of a run are read once, whatever opens with
// them, and not at all when nothing does.
func TestIdentitiesOnce(t *testing.T) {
	v, _ := newVault(t, false)
	k := sealKey(t, v, "shale", "wg0.key")
	file := filepath.Join(filepath.Dir(v.Dir), "identity.txt")
	text := readTestFile(t, file)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ids := FindIdentities(Place{fifo, "-i", true})
	if _, err := v.Meta("shale", "wg0.key"); err != nil {
		t.Fatal(err)
	}
	go os.WriteFile(fifo, []byte(text), 0) // a second reader would block
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := v.OpenKey("shale", "wg0.key", k.PublicKey(), ids); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestSSH: a host's own SSH key opens what is sealed to it.
func TestSSH(t *testing.T) {
	for _, kind := range []string{"ed25519", "rsa"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "host key")
		keygen := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "root@shale", "-f", path)
		if out, err := keygen.CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		v := Vault{Dir: filepath.Join(dir, "vault")}
		writeFile(t, filepath.Join(v.Dir, "recipients.txt"), readTestFile(t, path+".pub"))
		k := sealKey(t, v, "shale", "wg0.key")
		ids := FindIdentities(Place{path, "-i", true})
		if _, err := v.OpenKey("shale", "wg0.key", k.PublicKey(), ids); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		locked := filepath.Join(dir, "locked")
		keygen = exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "correct horse", "-f", locked)
		if out, err := keygen.CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		writeFile(t, filepath.Join(v.Dir, "recipients.txt"), readTestFile(t, locked+".pub"))
		k = sealKey(t, v, "basalt", "wg0.key")
		testLocked(t, v, "basalt", k.PublicKey(), locked, "correct horse")
	}
}

// TestIdentityFormat: where an identity is printed by mistake nobody learns it.
func TestIdentityFormat(t *testing.T) {
	for _, postQuantum := range []bool{false, true} {
		secret, _, err := generate(postQuantum)
		if err != nil {
			t.Fatal(err)
		}
		found, err := parsePlain([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		id := found.silent[0]
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			for _, x := range []any{id, &id, []any{id}, struct{ ID silent }{id}} {
				if text := fmt.Sprintf(verb, x); !strings.Contains(text, "(identity)") || strings.Contains(text, secret) {
					t.Errorf("%s of %T: %s", verb, x, text)
				}
			}
		}
	}
}
