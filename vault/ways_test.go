package vault

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"wgkeys/vault/ageplugin"
	"wgkeys/vault/ageplugin/stanza"
)

// drawer is a plugin of several hardware keys, of which those are plugged in that
// WGKEYS_TEST_PLUGGED counts. Of the others it says so, and goes on, as the plugin of
// YubiKeys does (age-plugin.md, "error identity"). As "silent" it says nothing.
func drawer() int {
	note(strings.Join(os.Args[1:], " "))
	plugged := strings.Fields(os.Getenv("WGKEYS_TEST_PLUGGED"))
	if slices.Contains(plugged, "silent") {
		time.Sleep(time.Minute)
		return 1
	}
	in := bufio.NewReaderSize(os.Stdin, maxFile)
	say := func(s *age.Stanza) {
		stanza.Write(os.Stdout, s)
		stanza.Read(in)
	}
	var identities []*age.X25519Identity
	files := map[string][]*age.Stanza{}
	for s, err := stanza.Read(in); err == nil && s.Type != "done"; s, err = stanza.Read(in) {
		switch s.Type {
		case "add-identity":
			_, data, _ := plugin.ParseIdentity(s.Args[0])
			x, _ := age.ParseX25519Identity(string(data))
			identities = append(identities, x)
		case "recipient-stanza":
			files[s.Args[0]] = append(files[s.Args[0]], &age.Stanza{Type: s.Args[1], Args: s.Args[2:], Body: s.Body})
		}
	}
	for n, x := range identities {
		if !slices.Contains(plugged, fmt.Sprint(n)) {
			say(&age.Stanza{Type: "error", Args: []string{"identity", fmt.Sprint(n)},
				Body: fmt.Appendf(nil, "please insert key %d", n)})
			continue
		}
		for file, stanzas := range files {
			if key, err := x.Unwrap(stanzas); err == nil {
				say(&age.Stanza{Type: "file-key", Args: []string{file}, Body: key})
			}
		}
	}
	stanza.Write(os.Stdout, &age.Stanza{Type: "done"})
	return 0
}

// A drawerOf has n hardware keys, and a vault file that is encrypted to each of them
// and to nobody else: hostN is opened by key N.
func drawerOf(t *testing.T, n int) (h hardwareKey, v Vault, keys []string) {
	t.Helper()
	h = newHardwareKey(t, "drawer")
	v = Vault{Dir: filepath.Join(t.TempDir(), "vault")}
	var lines string
	for i := range n {
		secret, recipient, err := generate(false)
		if err != nil {
			t.Fatal(err)
		}
		lines += plugin.EncodeIdentity("drawer", []byte(secret)) + "\n"
		host := fmt.Sprintf("host%d", i)
		writeFile(t, filepath.Join(v.Dir, host, "recipients.only.txt"), recipient+"\n")
		keys = append(keys, sealKey(t, v, host, "wg0.key").PublicKey().String())
	}
	writeFile(t, h.identity, lines)
	return h, v, keys
}

// opens opens hostN's key, and expects it of no other file.
func opens(t *testing.T, v Vault, n int, want string, ids *Identities) error {
	t.Helper()
	m, err := v.Meta(fmt.Sprintf("host%d", n), "wg0.key")
	if err != nil {
		t.Fatal(err)
	}
	k, err := v.OpenKey(fmt.Sprintf("host%d", n), "wg0.key", m.PublicKey, ids)
	if err == nil && k.PublicKey().String() != want {
		t.Errorf("host%d: another key", n)
	}
	return err
}

// TestOneKeyPlugged: of two hardware keys of one plugin the one that is plugged in opens
// what it can, whichever it is, and what the other would have opened says that.
func TestOneKeyPlugged(t *testing.T) {
	h, v, keys := drawerOf(t, 2)
	for plugged := range 2 {
		t.Setenv("WGKEYS_TEST_PLUGGED", fmt.Sprint(plugged))
		for _, prepared := range []bool{false, true} {
			ids := FindIdentities(Place{h.identity, "-i", true})
			ids.Asker = &person{}
			if prepared {
				if err := ids.Prepare(v, []Name{{"host0", "wg0.key"}, {"host1", "wg0.key"}}); err != nil {
					t.Error(err)
				}
			}
			for n, want := range keys {
				err := opens(t, v, n, want, ids)
				if n == plugged && err != nil {
					t.Errorf("key %d is plugged in: %v", n, err)
				}
				says := fmt.Sprintf("please insert key %d", 1-plugged)
				if n != plugged && (!errors.Is(err, ErrNoIdentity) || !strings.Contains(err.Error(), says)) {
					t.Errorf("key %d is not plugged in: %v, want %q", n, err, says)
				}
			}
		}
	}
}

// TestOtherWaysIn: what cannot be used is no reason not to use what can, in whatever
// order they are named: a plugin that is missing, an identity under a passphrase that
// nobody knows, a file that is not there. Alone, each says what is wrong with it.
func TestOtherWaysIn(t *testing.T) {
	h, v, keys := drawerOf(t, 1)
	t.Setenv("WGKEYS_TEST_PLUGGED", "0")
	dir := t.TempDir()
	file := func(name, text string) Place {
		path := filepath.Join(dir, name)
		writeFile(t, path, text)
		os.Chmod(path, 0o600)
		return Place{path, "-i", true}
	}
	secret, _, err := generate(false)
	if err != nil {
		t.Fatal(err)
	}
	good := Place{h.identity, "-i", true}
	for name, test := range map[string]struct {
		other Place
		says  string
	}{
		"a plugin that is missing": {file("missing", plugin.EncodeIdentity("nowhere", []byte("x"))+"\n"),
			"it is in no folder of PATH"},
		"a passphrase": {file("locked", lock(t, secret+"\n", "horse battery")), "the passphrase is wrong"},
		"no file":      {Place{filepath.Join(dir, "none"), "-i", true}, "no such file"},
		"no identity":  {file("damaged", "AGE-SECRET-KEY-1QQQQ\n"), "a character is wrong"},
	} {
		for _, places := range [][]Place{{good, test.other}, {test.other, good}} {
			ids := FindIdentities(places...)
			ids.Asker = &person{answer: "no"}
			if err := opens(t, v, 0, keys[0], ids); err != nil {
				t.Errorf("%s keeps a hardware key from opening a file: %v", name, err)
			}
		}
		ids := FindIdentities(test.other)
		ids.Asker = &person{answer: "no"}
		if err := opens(t, v, 0, keys[0], ids); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s alone: %v, want %q", name, err, test.says)
		}
	}
}

// TestInterrupted: whoever is waited for and says nothing, the wait ends when the
// person ends the run, and nothing else is tried then.
func TestInterrupted(t *testing.T) {
	h, v, keys := drawerOf(t, 1)
	t.Setenv("WGKEYS_TEST_PLUGGED", "silent")
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	held := filepath.Join(t.TempDir(), "held") // somebody has it open, and writes nothing
	if err := syscall.Mkfifo(held, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(held, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	rs := newHardwareKey(t, "drawer")
	for name, run := range map[string]func(p *person) error{
		"a plugin that is to open": func(p *person) error {
			ids := FindIdentities(Place{h.identity, "-i", true}, Place{h.identity, "-i", true})
			ids.Asker = p
			return opens(t, v, 0, keys[0], ids)
		},
		"a plugin that is to encrypt": func(p *person) error {
			w := Vault{Dir: filepath.Join(t.TempDir(), "vault"), Asker: p}
			writeFile(t, filepath.Join(w.Dir, "recipients.txt"), rs.recipient+"\n")
			return w.SealKey("shale", "wg0.key", newKey(t), made)
		},
		"a pipe that nobody has opened": func(p *person) error {
			ids := FindIdentities(Place{fifo, "-i", true})
			ids.Asker = p
			return opens(t, v, 0, keys[0], ids)
		},
		"a pipe that nobody writes to": func(p *person) error {
			ids := FindIdentities(Place{held, "-i", true})
			ids.Asker = p
			return opens(t, v, 0, keys[0], ids)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &person{ended: make(chan struct{})}
			time.AfterFunc(200*time.Millisecond, func() { close(p.ended) })
			done := make(chan error, 1)
			go func() { done <- run(p) }()
			select {
			case err := <-done:
				if !errors.Is(err, ErrInterrupted) {
					t.Error(err)
				}
			case <-time.After(30 * time.Second):
				t.Error("it still waits")
			}
		})
	}
}

// TestSilence: who says nothing is not waited for without an end either.
func TestSilence(t *testing.T) {
	t.Cleanup(func(before time.Duration) func() { return func() { patience = before } }(patience))
	patience = 100 * time.Millisecond
	h, v, keys := drawerOf(t, 1)
	t.Setenv("WGKEYS_TEST_PLUGGED", "silent")
	ids := FindIdentities(Place{h.identity, "-i", true})
	ids.Asker = &person{}
	if err := opens(t, v, 0, keys[0], ids); !errors.Is(err, ageplugin.ErrSilent) || !errors.Is(err, ErrNoIdentity) {
		t.Error(err)
	}
	_, err := ageplugin.Await(client(nil), func() (int, error) { select {} })
	if !errors.Is(err, ageplugin.ErrSilent) {
		t.Error(err)
	}
	if n, err := ageplugin.Await(client(nil), func() (int, error) { return 1, io.EOF }); n != 1 || err != io.EOF {
		t.Error(n, err)
	}
}
