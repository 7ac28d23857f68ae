package participant

import (
	"bytes"
	"encoding/json"
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
