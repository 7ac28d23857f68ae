package push

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"

	"wgkeys/keyring"
)

// A parrot is a host that says what the fuzzer thought of and hangs up.
type parrot struct{ lines []byte }

func (p parrot) Run(_ context.Context, _ string, in io.Reader, out io.Writer) error {
	go io.Copy(io.Discard, in)
	out.Write(p.lines)
	return nil
}

// FuzzProtocol gives both ends arbitrary lines: no panic, no end that does not
// come, no result that was not proven, no key in an error.
func FuzzProtocol(f *testing.F) {
	key, err := keyring.GeneratePrivateKey()
	if err != nil {
		f.Fatal(err)
	}
	public, text := key.PublicKey().String(), string(key.File())
	for _, s := range []string{
		"", "wgkeys 1 plain\n", "wgkeys 1 receive\nnone\ndone " + public + "\n", "as deploy\n", "lack wg\n",
		"wgkeys 1 plain\nhave -rw------- 0 0 " + public + "\n", "wgkeys 1 plain\nbad\nfail " + text,
		"wgkeys 1 plain\ndeny \x1b\n",
		"look key /nonexistent/a\n", "look psk /nonexistent/a", "mode key /nonexistent/a\n", "put key " + public +
			" x /nonexistent/a\n",
		"wgkeys 1 plain\nhave -rw-r--r-- 0 0 " + public + "\ndone " + public + "\n", strings.Repeat("x", 2*maxLine),
		"\x00\n\xff\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		calls := 0
		secret := func() ([]byte, error) { calls++; return []byte(text), nil }
		file := File{Path: "/nonexistent/a", Want: public, Secret: secret}
		results, err := Host(t.Context(), parrot{said}, "shale", []File{file})
		if (err == nil) != (len(results) == 1) {
			t.Errorf("results %v, error %v", results, err)
		}
		if err == nil && !bytes.Contains(said, []byte(public)) {
			t.Error("believed a host that never said the fingerprint")
		}
		if err != nil && (strings.Contains(err.Error(), text[:44]) || len(err.Error()) > 10000) {
			t.Errorf("error %q", err)
		}
		if calls > 1 {
			t.Errorf("%d decrypts", calls)
		}
		var out bytes.Buffer
		Receive(bytes.NewReader(said), &out, []string{"/nonexistent/a"})
		if n := out.Len(); n > 100*(1+bytes.Count(said, []byte("\n"))) {
			t.Errorf("%d bytes of answers", n)
		}
	})
}

// FuzzRequest: what the host's parser accepts is what the controller writes.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("look key /a"))
	f.Add([]byte("mode psk /a b"))
	f.Add([]byte("put psk " + strings.Repeat("0", 64) + " yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk= /a"))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseRequest(line)
		if err != nil {
			return
		}
		words := []string{r.verb, string(r.kind)}
		if r.verb == "put" {
			words = append(words, r.fingerprint, strings.TrimSuffix(string(r.text), "\n"))
		}
		if got := strings.Join(append(words, r.path), " "); got != string(line) {
			t.Errorf("%q came back as %q", line, got)
		}
	})
}

// TestManyRequests: a controller without end is not listened to without end.
func TestManyRequests(t *testing.T) {
	err := Receive(strings.NewReader(strings.Repeat("look key /nonexistent/a\n", 1<<16)), io.Discard, nil)
	if err == nil || !strings.Contains(err.Error(), "too many requests") {
		t.Errorf("got %v", err)
	}
}

// TestOnly: an administrator's list is kept to.
func TestOnly(t *testing.T) {
	var out bytes.Buffer
	if err := Receive(strings.NewReader("look key /etc/hostname\nmode key /etc/hostname\n"), &out,
		[]string{"/etc/wireguard/wg0.key"}); err != nil {
		t.Fatal(err)
	}
	const no = "is not among the files that may be pushed here\n"
	if got, want := out.String(), "wgkeys 1 receive\ndeny "+no+"fail "+no; got != want {
		t.Errorf("got %q", got)
	}
}

// TestCommand: one line that no login shell reads in a way of its own.
func TestCommand(t *testing.T) {
	line := command()
	if strings.ContainsAny(line, "\n\\!\t") || strings.Count(line, "'") != 4 || len(line) > 16<<10 {
		t.Errorf("unsafe for some login shell: %s", line)
	}
	if m := regexp.MustCompile(`(^|; |do |then )#`).FindString(line); m != "" {
		t.Error("a comment would swallow the rest")
	}
}

// TestFingerprints: the fingerprints are those of package keyring and of wg(8).
func TestFingerprints(t *testing.T) {
	key, err := keyring.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	psk, err := keyring.GeneratePresharedKey()
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := fingerprintOf(privateKey, key.File()); !ok || got != key.PublicKey().String() {
		t.Errorf("private key: %s", got)
	}
	if got, ok := fingerprintOf(presharedKey, psk.File()); !ok || got != psk.Fingerprint() {
		t.Errorf("preshared key: %s", got)
	}
}
