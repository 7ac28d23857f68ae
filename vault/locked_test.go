package vault

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"wgkeys/keyring"
)

// A person answers what a test has told him to, and counts.
type person struct {
	ended  chan struct{}
	answer string
	err    error

	mu    sync.Mutex
	asked []string
	lines []string
}

func (p *person) Ended() <-chan struct{} { return p.ended }

func (p *person) Tell(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
}

func (p *person) Ask(prompt string, secret bool) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, prompt)
	return p.answer, p.err
}

func (p *person) Choose(prompt, yes, no string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, prompt+" "+yes+" "+no)
	return true, p.err
}

// testLocked opens host's wg0.key with the identity file at path, from several
// goroutines at once.
func testLocked(t *testing.T, v Vault, host string, want keyring.PublicKey, path, passphrase string) {
	t.Helper()
	open := func(ids *Identities) (errs [8]error) {
		var wg sync.WaitGroup
		for n := range errs {
			wg.Go(func() { _, errs[n] = v.OpenKey(host, "wg0.key", want, ids) })
		}
		wg.Wait()
		return errs
	}
	for _, test := range []struct {
		name string
		p    *person
		says string
	}{
		{"right", &person{answer: passphrase}, ""},
		{"wrong", &person{answer: passphrase + "!"}, "the passphrase is wrong"},
		{"empty", &person{}, "the passphrase is wrong"},
		{"no terminal", &person{answer: passphrase, err: errors.New("there is no terminal")}, "there is no terminal"},
		{"nobody", nil, "there is nobody to ask"},
	} {
		ids := FindIdentities(Place{path, "-i", true})
		if test.p != nil {
			ids.Asker = test.p
		}
		for _, err := range open(ids) {
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v", test.name, err)
			}
			if err != nil && strings.Contains(err.Error(), passphrase) {
				t.Errorf("%s: %v shows the passphrase", test.name, err)
			}
		}
		if test.p != nil && (len(test.p.asked) != 1 || !strings.Contains(test.p.asked[0], path)) {
			t.Errorf("%s: asked %q", test.name, test.p.asked)
		}
	}
}

// lock encrypts text under a passphrase, with as little work as it takes.
func lock(t *testing.T, text, passphrase string) string {
	t.Helper()
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(4)
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestLocked: an identity file under a passphrase is asked for once, also if it
// is wrong, and not at all where another identity opens the file.
func TestLocked(t *testing.T) {
	for _, postQuantum := range []bool{false, true} {
		v, plain := newVault(t, postQuantum)
		k := sealKey(t, v, "shale", "wg0.key")
		dir := filepath.Dir(v.Dir)
		secret := readTestFile(t, filepath.Join(dir, "identity.txt"))
		for name, text := range map[string]string{"binary": lock(t, secret, "horse battery"),
			"armored": rearmor(t, []byte(lock(t, secret, "horse battery")))} {
			path := filepath.Join(dir, name)
			writeFile(t, path, text)
			testLocked(t, v, "shale", k.PublicKey(), path, "horse battery")
			p := &person{}
			both := FindIdentities(append([]Place{{path, "-i", true}}, plain.places...)...)
			both.Asker = p
			if _, err := v.OpenKey("shale", "wg0.key", k.PublicKey(), both); err != nil || len(p.asked) > 0 {
				t.Errorf("%s: with a plain one: %v, asked %q", name, err, p.asked)
			}
		}
		for name, text := range map[string]string{
			"no identity in it": lock(t, "# nothing\n", "horse battery"),
			"line 1":            lock(t, "nonsense "+secret, "horse battery"),
			"cut short":         lock(t, secret, "horse battery")[:250],
		} {
			path := filepath.Join(dir, "bad")
			writeFile(t, path, text)
			ids := FindIdentities(Place{path, "-i", true})
			ids.Asker = &person{answer: "horse battery"}
			_, err := v.OpenKey("shale", "wg0.key", k.PublicKey(), ids)
			if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), secret[len(secret)-20:]) {
				t.Errorf("%v does not say %q, or too much", err, name)
			}
		}
	}
}
