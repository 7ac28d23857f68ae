package netplan

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

// cannot are the views whose default route needs a rule that netplan does not have.
var cannot = map[string]bool{"full": true, "ipv6": true, "mark": true}

// TestRoundTrip: Parse reads what Format writes as the view, without the forwarding of the
// host and the description.
func TestRoundTrip(t *testing.T) {
	for name, v := range foreigntest.Views() {
		files, err := Format(v, foreign.Secrets{})
		if cannot[name] {
			if hints := fault.Hints(err); len(hints) != 1 {
				t.Errorf("%s: %v, %v", name, err, hints)
			}
			continue
		}
		if err != nil {
			t.Fatal(name, err)
		}
		foreigntest.Golden(t, filepath.Join("testdata", "format", name+".yaml"), string(files[0].Text))
		devices, err := Parse(files)
		if err != nil || len(devices) != 1 {
			t.Fatalf("%s: %d devices: %v", name, len(devices), err)
		}
		v.Forward, v.Description = false, ""
		if got, want := foreigntest.MeaningOf(devices[0]), foreigntest.Meaning(v); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// TestSecrets: with secrets no key file is named, and a preshared key that begins with a
// slash is not taken for a path.
func TestSecrets(t *testing.T) {
	psk, err := keyring.GeneratePresharedKey()
	if err != nil {
		t.Fatal(err)
	}
	slash, err := keyring.ParsePresharedKey([]byte("/wXvEe3mRULmsCDZxZsq+Q7l3SDUbRCm5qBK+WVg/mQ="))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []keyring.PresharedKey{psk, slash} {
		files := foreigntest.Secrets(t, k, Format, Parse)
		if strings.Contains(string(files[0].Text), ".key") {
			t.Error("a key file is named")
		}
	}
}

func FuzzParse(f *testing.F) {
	var seeds []foreign.File
	for _, dir := range []string{"testdata/corpus", "testdata/cases", "testdata/format"} {
		for _, s := range foreigntest.Files(f, dir) {
			if strings.HasSuffix(s.Name, ".yaml") {
				seeds = append(seeds, s)
			}
		}
	}
	foreigntest.Fuzz(f, seeds, "wg0.yaml", Parse, func(v *tunnel.View, s foreign.Secrets) ([]foreign.File, error) {
		v.Description = "" // netplan has no words for it
		return Format(v, s)
	})
}
