package networkd

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/foreign/foreigntest"
	"wgkeys/keyring"
)

// TestRoundTrip: Parse reads what Format writes as the view.
func TestRoundTrip(t *testing.T) {
	for name, v := range foreigntest.Views() {
		files, err := Format(v, foreign.Secrets{})
		if err != nil {
			t.Fatal(name, err)
		}
		devices, err := Parse(files)
		if err != nil || len(devices) != 1 {
			t.Fatalf("%s: %d devices: %v", name, len(devices), err)
		}
		if got, want := foreigntest.MeaningOf(devices[0]), foreigntest.Meaning(v); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// TestPointToPoint: an address with a remote one is an [Address] section.
func TestPointToPoint(t *testing.T) {
	v := foreigntest.Views()["none"]
	v.Remotes = map[netip.Addr]netip.Prefix{v.Addresses[0].Addr(): netip.MustParsePrefix("10.7.7.9/32")}
	files, err := Format(v, foreign.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	devices, err := Parse(files)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := foreigntest.MeaningOf(devices[0]), foreigntest.Meaning(v); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestFormat: the files, for a reviewer.
func TestFormat(t *testing.T) {
	for name, v := range foreigntest.Views() {
		files, err := Format(v, foreign.Secrets{})
		if err != nil {
			t.Fatal(name, err)
		}
		var b strings.Builder
		for _, f := range files {
			fmt.Fprintf(&b, "-- %s %s %s --\n%s", f.Name, f.Mode, f.Owner, f.Text)
		}
		foreigntest.Golden(t, filepath.Join("testdata", "format", name+".golden"), b.String())
	}
}

// TestSecrets: with secrets no key file is named, and only systemd-networkd can read the
// file.
func TestSecrets(t *testing.T) {
	psk, err := keyring.GeneratePresharedKey()
	if err != nil {
		t.Fatal(err)
	}
	files := foreigntest.Secrets(t, psk, Format, Parse)
	if f := files[0]; f.Mode != "0640" || f.Owner != "root:systemd-network" {
		t.Errorf("mode %s of %s", f.Mode, f.Owner)
	}
}

func FuzzParse(f *testing.F) {
	var seeds []foreign.File
	for _, dir := range []string{"testdata/corpus", "testdata/cases"} {
		seeds = append(seeds, foreigntest.Files(f, dir)...)
	}
	for _, v := range foreigntest.Views() {
		files, err := Format(v, foreign.Secrets{})
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, foreign.File{Text: slices.Concat(files[0].Text, files[1].Text)})
	}
	foreigntest.Fuzz(f, seeds, "wg0.netdev", parseJoined, Format)
}

// parseJoined splits a text into a .netdev and a .network, so that fuzzing reaches both:
// the .network begins with the first section that a .netdev does not have.
func parseJoined(files []foreign.File) ([]*foreign.Device, error) {
	if len(files) > 1 {
		return Parse(files)
	}
	netdev, network, ok := bytes.Cut(files[0].Text, []byte("\n[Match]"))
	list := []foreign.File{{Name: files[0].Name, Text: netdev}}
	if ok {
		list = append(list, foreign.File{Name: "wg0.network", Text: append([]byte("[Match]"), network...)})
	}
	return Parse(list)
}
