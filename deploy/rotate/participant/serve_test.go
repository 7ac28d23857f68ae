package participant

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
)

// A request that would give the kernel a key that is none is refused before
// anything is looked at.
func TestServeRefusesNoKey(t *testing.T) {
	one, none := keyring.PublicKey{5}, keyring.PublicKey{}
	for _, do := range []string{rotate.DoWatch, rotate.DoSwitch, rotate.DoReplace} {
		for _, keys := range [][2]keyring.PublicKey{{one, none}, {none, one}, {one, one}} {
			q, err := json.Marshal(rotate.Request{Protocol: rotate.Protocol, Do: do, Tunnel: "wg0", Old: keys[0], Next: keys[1]})
			if err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			if err := (Server{}).Serve(t.Context(), bytes.NewReader(q), &said); err != nil {
				t.Fatal(err)
			}
			var a rotate.Answer
			err = json.Unmarshal(said.Bytes(), &a)
			if err == nil {
				err = a.Err()
			}
			if err == nil || !strings.Contains(err.Error(), "two keys") && !strings.Contains(err.Error(), "zero") {
				t.Errorf("%s %v: %v", do, keys, err)
			}
		}
	}
}

// TestServeAlso: along with a look nothing is done but to look, and what goes wrong with one
// tunnel is told of that one.
func TestServeAlso(t *testing.T) {
	q, err := json.Marshal(rotate.Request{Protocol: rotate.Protocol, Do: rotate.DoLook, Tunnel: "none0",
		Also: []rotate.Request{
			{Do: rotate.DoLook, Tunnel: "none1"},
			{Do: rotate.DoLook, Tunnel: "../bad"},
			{Do: rotate.DoEnd, Tunnel: "none2"},
		}})
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if err := (Server{Version: "wgkeys v9"}).Serve(t.Context(), bytes.NewReader(q), &said); err != nil {
		t.Fatal(err)
	}
	var a rotate.Answer
	if err := json.Unmarshal(said.Bytes(), &a); err != nil || len(a.Also) != 3 {
		t.Fatalf("%v: %s", err, said.String())
	}
	for i, want := range []string{"", "no tunnel can be named", "only a look changes nothing"} {
		also := a.Also[i]
		if err := also.Err(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("answer %d: %v", i, err)
		}
		if also.Version != "wgkeys v9" || also.Protocol != rotate.Protocol {
			t.Errorf("answer %d is of version %q, protocol %d", i, also.Version, also.Protocol)
		}
	}
}

// TestServeStays: a host that is asked to stay answers one request after the other, and each
// answer says whether it does; without that it ends, as every version does.
func TestServeStays(t *testing.T) {
	for name, tt := range map[string]struct {
		stay []bool // the requests
		want []bool // Stays of the answers
	}{
		"one":          {[]bool{false}, []bool{false}},
		"three":        {[]bool{true, true, false}, []bool{true, true, false}},
		"one too many": {[]bool{true, false, true}, []bool{true, false}},
		"no more":      {[]bool{true}, []bool{true}},
	} {
		var asked, said bytes.Buffer
		for _, stay := range tt.stay {
			err := json.NewEncoder(&asked).Encode(rotate.Request{Protocol: rotate.Protocol, Do: rotate.DoLook,
				Tunnel: "none0", Stay: stay})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := (Server{}).Serve(t.Context(), &asked, &said); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []bool
		for d := json.NewDecoder(&said); d.More(); {
			var a rotate.Answer
			if err := d.Decode(&a); err != nil {
				t.Fatal(err)
			}
			got = append(got, a.Stays)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestServeNoInterface: a request to a tunnel whose interface is gone says so, and names it.
func TestServeNoInterface(t *testing.T) {
	ownRun(t)
	one, two := keyring.PublicKey{5}, keyring.PublicKey{9}
	for _, do := range []string{rotate.DoWatch, rotate.DoReplace} {
		q := rotate.Request{Protocol: rotate.Protocol, Do: do, Tunnel: "none0", Old: one, Next: two,
			KeyFile: filepath.Join(t.TempDir(), "none0.key")}
		err := (Server{}).answer(t.Context(), q).Err()
		if err == nil || err.Error() != `cannot work on tunnel "none0": its interface is gone` {
			t.Errorf("%s: %v", do, err)
		}
	}
}
