package tunnel_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// TestSetNextRefuses: two entries with one key would be one peer to the kernel.
func TestSetNextRefuses(t *testing.T) {
	tun := parse(t, os.DirFS("testdata/views/dual"), "wg0")
	keys := publicKeys(t, tun.Hosts())
	fresh := publicKey(t, "fresh")
	for _, test := range []struct {
		name string
		next map[string]keyring.PublicKey
		want string // "": it is taken
	}{
		{"none", nil, ""},
		{"of no host", map[string]keyring.PublicKey{"flint": fresh}, ""},
		{"fresh", map[string]keyring.PublicKey{"phone": fresh}, ""},
		{"the present one", map[string]keyring.PublicKey{"phone": keys["phone"]}, "keyring/phone/wg0.next.pub"},
		{"another peer's", map[string]keyring.PublicKey{"phone": keys["laptop"]}, "keyring/laptop/wg0.pub"},
		{"the host's own", map[string]keyring.PublicKey{"phone": keys["gate"]}, "keyring/gate/wg0.pub"},
		{"a peer's, for the host", map[string]keyring.PublicKey{"gate": keys["phone"]}, "keyring/phone/wg0.pub"},
		{"one for two", map[string]keyring.PublicKey{"gate": fresh, "phone": fresh}, "keyring/gate/wg0.next.pub"},
	} {
		v, err := tun.View("gate", keys)
		if err != nil {
			t.Fatal(err)
		}
		err = v.SetNext(test.next)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if err != nil && !slices.ContainsFunc(fault.Hints(err), func(h string) bool {
			return strings.HasPrefix(h, "git log -p -- keyring/")
		}) {
			t.Errorf("%s: the hints are %q", test.name, fault.Hints(err))
		}
		// What SetNext refuses is refused on its way to a host too.
		if invalid := v.Validate(); (invalid == nil) != (err == nil) {
			t.Errorf("%s: Validate: %v", test.name, invalid)
		}
	}
}

// TestNextKeysTravel: the host is told the next keys, and reads them strictly.
func TestNextKeysTravel(t *testing.T) {
	tun := parse(t, os.DirFS("testdata/views/dual"), "wg0")
	v, err := tun.View("gate", publicKeys(t, tun.Hosts()))
	if err != nil {
		t.Fatal(err)
	}
	next := nextKeys(t, []string{"gate", "phone"})
	if err := v.SetNext(next); err != nil {
		t.Fatal(err)
	}
	valid := string(encode(t, v))
	back, err := tunnel.ParseView([]byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	phone := func(v *tunnel.View) keyring.PublicKey {
		i := slices.IndexFunc(v.Peers, func(p tunnel.Peer) bool { return p.Name == "phone" })
		return v.Peers[i].NextPublicKey
	}
	if back.NextPublicKey != next["gate"] || phone(back) != next["phone"] {
		t.Errorf("%v and %v arrive", back.NextPublicKey, phone(back))
	}
	for other, want := range map[string]string{
		next["gate"].String():         `the public key of "phone" is there twice`,
		v.PublicKey.String():          `the public key of "phone" is there twice`,
		strings.Repeat("A", 43) + "=": `the all-zero key`,
		"":                            `bad-length`,
		"c2hvcnQ=":                    `bad-length`,
	} {
		text := strings.Replace(valid, next["phone"].String(), other, 1)
		if _, err := tunnel.ParseView([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the next key %q: got %v, want %q", other, err, want)
		}
	}
}
