package vault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault/ageplugin"
)

// TestMain makes the test binary an age plugin when it is called by the name of
// one: a stand-in for a hardware key.
func TestMain(m *testing.M) {
	if name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "age-plugin-"); ok {
		os.Exit(standIn(name))
	}
	os.Exit(m.Run())
}

// standIn is a hardware key whose identity is a native one, in the clear. It
// writes a line to a file for each process, and asks for a touch once for each,
// or for every file if it is called "strict". As "labelled" it says that it is
// post-quantum, and as "broken" it dies in the middle.
func standIn(name string) int {
	if name == "drawer" {
		return drawer()
	}
	p, err := plugin.New(name)
	if err != nil {
		panic(err)
	}
	p.HandleRecipient(func(data []byte) (age.Recipient, error) {
		x, err := age.ParseX25519Recipient(string(data))
		return labelledRecipient{x, name == "labelled"}, err
	})
	touched := false
	p.HandleIdentity(func(data []byte) (age.Identity, error) {
		x, err := age.ParseX25519Identity(string(data))
		return identityFunc(func(s []*age.Stanza) ([]byte, error) {
			key, err := x.Unwrap(s)
			if err == nil && (!touched || name == "strict") {
				touched = true
				note("touch")
				err = p.DisplayMessage("touch the key")
			}
			if name == "broken" {
				os.Exit(1)
			}
			return key, err
		}), err
	})
	note(strings.Join(os.Args[1:], " "))
	return p.Main()
}

// note counts, for the test, what the stand-in has done.
func note(what string) {
	f, err := os.OpenFile(os.Getenv("WGKEYS_TEST_NOTES"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(f, what)
	f.Close()
}

type identityFunc func([]*age.Stanza) ([]byte, error)

func (f identityFunc) Unwrap(s []*age.Stanza) ([]byte, error) { return f(s) }

type labelledRecipient struct {
	*age.X25519Recipient
	postQuantum bool
}

func (r labelledRecipient) WrapWithLabels(key []byte) ([]*age.Stanza, []string, error) {
	s, err := r.Wrap(key)
	if r.postQuantum {
		return s, []string{postQuantum}, err
	}
	return s, nil, err
}

// A hardwareKey is a plugin in PATH, its recipient and its identity file.
type hardwareKey struct{ dir, recipient, identity string }

func newHardwareKey(t *testing.T, name string) hardwareKey {
	t.Helper()
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, filepath.Join(dir, ageplugin.Program(name))); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WGKEYS_TEST_NOTES", filepath.Join(dir, "notes"))
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	secret, recipient, err := generate(false)
	if err != nil {
		t.Fatal(err)
	}
	h := hardwareKey{dir, plugin.EncodeRecipient(name, []byte(recipient)), filepath.Join(dir, "identity.txt")}
	writeFile(t, h.identity, "# a hardware key\n"+plugin.EncodeIdentity(name, []byte(secret))+"\n")
	os.Chmod(h.identity, 0o600)
	return h
}

// count tells how often the stand-in has done something.
func (h hardwareKey) count(what string) int {
	text, _ := os.ReadFile(filepath.Join(h.dir, "notes"))
	return strings.Count(string(text), what+"\n")
}

// sealMany seals the keys of many hosts to h.
func (h hardwareKey) sealMany(t *testing.T, n int) (Vault, []Name, []keyring.PublicKey) {
	t.Helper()
	v := Vault{Dir: filepath.Join(t.TempDir(), "vault")}
	writeFile(t, filepath.Join(v.Dir, "recipients.txt"), "# a hardware key\n"+h.recipient+"\n"+newRecipient(t, false)+"\n")
	var names []Name
	var keys []keyring.PublicKey
	for i := range n {
		host := fmt.Sprintf("host%d", i)
		keys = append(keys, sealKey(t, v, host, "wg0.key").PublicKey())
		names = append(names, Name{host, "wg0.key"})
	}
	return v, names, keys
}

// TestOneTouch: fifty files that were prepared need one process and one touch,
// and a key that wants a touch for each file gets one for each, and no more.
func TestOneTouch(t *testing.T) {
	const hosts = 50
	for name, touches := range map[string]int{"touch": 1, "strict": hosts} {
		t.Run(name, func(t *testing.T) {
			h := newHardwareKey(t, name)
			v, names, keys := h.sealMany(t, hosts)
			p := &person{}
			ids := FindIdentities(Place{h.identity, "-i", true})
			ids.Asker = p
			if err := ids.Prepare(v, names); err != nil {
				t.Fatal(err)
			}
			for range 2 { // what was opened stays open
				for i, n := range names {
					if _, err := v.OpenKey(n.Host, n.File, keys[i], ids); err != nil {
						t.Fatal(err)
					}
				}
			}
			processes := h.count("--age-plugin=identity-v1")
			if got := h.count("touch"); got != touches || processes != 1 {
				t.Errorf("%d touches in %d processes", got, processes)
			}
			if want := ageplugin.Program(name) + " is asked to open 50 files at once: one touch if your hardware key allows " +
				"it, else 50"; len(p.lines) != 1+touches || p.lines[0] != want {
				t.Errorf("it says %q", p.lines)
			}
			t.Logf("%d files: %d touches", hosts, h.count("touch"))
		})
	}
}

// TestPluginOneByOne: files that were not prepared open too, and those that
// another identity opens need no plugin.
func TestPluginOneByOne(t *testing.T) {
	h := newHardwareKey(t, "touch")
	v, names, keys := h.sealMany(t, 3)
	ids := FindIdentities(Place{h.identity, "-i", true}) // nobody to ask
	for i, n := range names {
		if _, err := v.OpenKey(n.Host, n.File, keys[i], ids); !errors.Is(err, ErrNoIdentity) {
			t.Errorf("a key that needs a touch that nobody was told of: %v", err)
		}
	}
	ids = FindIdentities(Place{h.identity, "-i", true})
	ids.Asker = &person{}
	for i, n := range names {
		if _, err := v.OpenKey(n.Host, n.File, keys[i], ids); err != nil {
			t.Error(err)
		}
	}
	before := h.count("--age-plugin=identity-v1")
	plain, plainIDs := newVault(t, false)
	k := sealKey(t, plain, "shale", "wg0.key")
	both := FindIdentities(append([]Place{{h.identity, "-i", true}}, plainIDs.places...)...)
	if err := both.Prepare(plain, []Name{{"shale", "wg0.key"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := plain.OpenKey("shale", "wg0.key", k.PublicKey(), both); err != nil {
		t.Error(err)
	}
	if h.count("--age-plugin=identity-v1") != before {
		t.Error("the plugin was started where it is not needed")
	}
}

// TestPluginFails: of a plugin that is missing, or dies, and of a file that is
// not its, the error tells which program it is.
func TestPluginFails(t *testing.T) {
	h := newHardwareKey(t, "broken")
	v, names, keys := h.sealMany(t, 2)
	for _, test := range []struct{ path, want string }{
		{os.Getenv("PATH"), `the age plugin failed: "age-plugin-broken": it ended in the middle`},
		{"/nowhere", `no program for the age plugin "age-plugin-broken": it is in no folder of PATH`},
	} {
		t.Setenv("PATH", test.path)
		ids := FindIdentities(Place{h.identity, "-i", true})
		ids.Asker = &person{}
		ids.Prepare(v, names)
		for i, n := range names {
			_, err := v.OpenKey(n.Host, n.File, keys[i], ids)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v does not say %q", err, test.want)
			}
		}
	}
	unpacked := t.TempDir()
	writeFile(t, filepath.Join(unpacked, "age-plugin-broken"), "#!/bin/sh\n")
	t.Setenv("PATH", unpacked)
	if err := v.SealKey("shale", "wg0.key", newKey(t), made); err == nil ||
		!strings.Contains(err.Error(), `cannot run the age plugin "age-plugin-broken": nobody may execute `+unpacked) ||
		!slices.Contains(fault.Hints(err), "chmod a+x "+filepath.Join(unpacked, "age-plugin-broken")) {
		t.Errorf("a plugin that nobody may execute: %v", err)
	}
	t.Setenv("PATH", "/nowhere")
	if err := v.SealKey("shale", "wg0.key", newKey(t), made); err == nil || !strings.Contains(err.Error(),
		`no program for the age plugin "age-plugin-broken": it is in no folder of PATH`) {
		t.Errorf("sealed without the plugin: %v", err)
	}
	other := newHardwareKey(t, "touch")
	t.Setenv("PATH", other.dir)
	ids := FindIdentities(Place{other.identity, "-i", true})
	_, err := v.OpenKey(names[0].Host, names[0].File, keys[0], ids)
	if !errors.Is(err, ErrNoIdentity) {
		t.Errorf("another hardware key: %v", err)
	}
}

// TestPluginMix: a plugin says itself whether it is post-quantum, and what
// cannot be mixed is refused by its lines before anything is written.
func TestPluginMix(t *testing.T) {
	h := newHardwareKey(t, "labelled")
	v := Vault{Dir: filepath.Join(t.TempDir(), "vault")}
	path := filepath.Join(v.Dir, "recipients.txt")
	writeFile(t, path, h.recipient+"\n"+newRecipient(t, true)+"\n")
	if err := v.SealKey("shale", "wg0.key", newKey(t), made); err != nil {
		t.Error(err)
	}
	writeFile(t, path, newRecipient(t, false)+"\n"+h.recipient+"\n")
	before := snapshot(t, v)
	err := v.SealKey("basalt", "wg0.key", newKey(t), made)
	want := "cannot mix post-quantum and classic recipients: post-quantum: " + path + ":2; classic: " + path + ":1"
	if _, ok := errors.AsType[*fault.Fault](err); !ok || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if fmt.Sprint(before) != fmt.Sprint(snapshot(t, v)) {
		t.Error("something was written")
	}
}

// TestPluginStock: stock age and ours agree about a plugin, both ways.
func TestPluginStock(t *testing.T) {
	h := newHardwareKey(t, "touch")
	for _, ageBin := range []string{build(t, "age"), need(t, "age")} {
		v, _, keys := h.sealMany(t, 1)
		plain := run(t, "", ageBin, "-d", "-i", h.identity, v.Path("host0", "wg0.key"))
		if k, err := keyring.ParsePrivateKey([]byte(plain)); err != nil || k.PublicKey() != keys[0] {
			t.Errorf("%s opens it as something else: %v", ageBin, err)
		}
		os.Remove(v.Path("host0", "wg0.key"))
		run(t, plain, ageBin, "-a", "-r", h.recipient, "-o", v.Path("host0", "wg0.key"))
		ids := FindIdentities(Place{h.identity, "-i", true})
		ids.Asker = &person{}
		if _, err := v.OpenKey("host0", "wg0.key", keys[0], ids); err != nil {
			t.Errorf("a file of %s: %v", ageBin, err)
		}
	}
}
