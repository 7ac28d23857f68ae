package networkmanager

import (
	"path/filepath"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/foreign/foreigntest"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// secrets returns made-up keys for the peers of v.
func secrets(t *testing.T, v *tunnel.View) foreign.Secrets {
	t.Helper()
	private, err := keyring.ParsePrivateKey([]byte("6PhjNnfvvaXBxu4vNyu7U0fkvIvuomaPzaPxQJXVcFE="))
	if err != nil {
		t.Fatal(err)
	}
	s := foreign.Secrets{PrivateKey: private, PresharedKeys: map[string]keyring.PresharedKey{}}
	for _, p := range v.Peers {
		if p.PresharedKeyFile != "" {
			psk, err := keyring.ParsePresharedKey([]byte("NeqEXsDa/7ys5K452tPy7AfD6GqgNsvAaO7Nrj4r5OM="))
			if err != nil {
				t.Fatal(err)
			}
			s.PresharedKeys[p.Name] = psk
		}
	}
	return s
}

// TestRoundTrip: Parse reads what Format writes as the view, without the forwarding of all
// interfaces, and with keys instead of key files.
func TestRoundTrip(t *testing.T) {
	for name, v := range foreigntest.Views() {
		files, err := Format(v, secrets(t, v))
		if err != nil {
			t.Fatal(name, err)
		}
		devices, err := Parse(files)
		if err != nil || len(devices) != 1 {
			t.Fatalf("%s: %d devices: %v", name, len(devices), err)
		}
		d := devices[0]
		if d.PrivateKey.IsZero() {
			t.Errorf("%s: no private key", name)
		}
		d.PrivateKeyFile = v.PrivateKeyFile
		for i := range d.Peers {
			if !d.Peers[i].PresharedKey.IsZero() {
				d.Peers[i].PresharedKeyFile = v.Peers[i].PresharedKeyFile
			}
		}
		if got, want := foreigntest.MeaningOf(d), foreigntest.Meaning(v); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// TestFormat: the files, for a reviewer.
func TestFormat(t *testing.T) {
	for name, v := range foreigntest.Views() {
		files, err := Format(v, secrets(t, v))
		if err != nil {
			t.Fatal(name, err)
		}
		if files[0].Mode != "0600" {
			t.Errorf("%s: mode %s", name, files[0].Mode)
		}
		foreigntest.Golden(t, filepath.Join("testdata", "format", name+".nmconnection"), string(files[0].Text))
	}
}

// TestNoFile: NetworkManager cannot read a key from a file, and the error says what to do.
func TestNoFile(t *testing.T) {
	_, err := Format(foreigntest.Views()["client"], foreign.Secrets{})
	if hints := fault.Hints(err); len(hints) != 1 || !strings.Contains(hints[0], "--secret") {
		t.Error(err, hints)
	}
}

func FuzzParse(f *testing.F) {
	var seeds []foreign.File
	for _, dir := range []string{"testdata/corpus", "testdata/cases"} {
		seeds = append(seeds, foreigntest.Files(f, dir)...)
	}
	foreigntest.Fuzz(f, seeds, "wg0.nmconnection", Parse, Format)
}
