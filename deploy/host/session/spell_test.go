package session

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/firewall"
)

// unspelled are the parts of a state that no plan depends on.
var unspelled = []string{
	".Hurdles.Digest",
	".Peers.Configured", ".Peers.PresharedKeyFile", // in what the kernel has: unknown
	".Peers.LastHandshake", ".Peers.Received", ".Peers.Sent",
}

// A filler gives every leaf of a state a value, and one of them another one.
type filler struct {
	*testing.T
	other int // the number of that leaf
	leaf  int
	path  string // of it
}

func (f *filler) set(v reflect.Value, path string, values [2]any) {
	f.leaf++
	value := values[0]
	if f.leaf == f.other {
		value, f.path = values[1], path
	}
	v.Set(reflect.ValueOf(value).Convert(v.Type()))
}

// opaque are types of which the inside is not looked at, and interfaces.
var opaque = map[reflect.Type][2]any{
	reflect.TypeFor[netip.Addr]():   {netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.1")},
	reflect.TypeFor[netip.Prefix](): {netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/9")},
	reflect.TypeFor[netip.AddrPort](): {netip.MustParseAddrPort("[fe80::1%eth0]:1"),
		netip.MustParseAddrPort("[fe80::1%eth1]:1")},
	reflect.TypeFor[time.Time]():     {time.Unix(1, 0), time.Unix(2, 0)},
	reflect.TypeFor[error]():         {errors.New("one"), errors.New("two")},
	reflect.TypeFor[firewall.Expr](): {firewall.Target{Name: "LOG"}, firewall.Target{Name: "CT"}},
}

func (f *filler) fill(v reflect.Value, path string) {
	if values, ok := opaque[v.Type()]; ok {
		f.set(v, path, values)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), path)
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() { // made of the others when it is asked for
				continue
			}
			f.fill(v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		f.fill(v.Index(0), path)
	case reflect.Array:
		f.fill(v.Index(v.Len()-1), path)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key, path+"(key)")
		f.fill(value, path)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Bool:
		f.set(v, path, [2]any{false, true})
	case reflect.String:
		f.set(v, path, [2]any{"a", "b"})
	default:
		f.set(v, path, [2]any{1, 2})
	}
}

// TestSpellAll: whatever of a state is another, its text is another, but for what no plan
// depends on. A field that is new is among them by itself.
func TestSpellAll(t *testing.T) {
	spelled := func(other int) ([]byte, *filler) {
		f, s := &filler{T: t, other: other}, new(apply.State)
		f.fill(reflect.ValueOf(s).Elem(), "")
		return spell(s), f
	}
	base, all := spelled(0)
	if again, _ := spelled(0); !bytes.Equal(base, again) {
		t.Error("the same state has two texts")
	}
	for i := range all.leaf {
		text, f := spelled(i + 1)
		if same := bytes.Equal(base, text); same != slices.Contains(unspelled, f.path) {
			t.Errorf("%s is another: the text is the same: %t", f.path, same)
		}
	}
	if all.leaf < 80 {
		t.Errorf("a state has %d parts", all.leaf)
	}
}

// TestSpellBounds: what moves from one part to the one beside it is another state.
func TestSpellBounds(t *testing.T) {
	p := netip.MustParsePrefix
	for name, pair := range map[string][2]apply.State{
		"names": {{Managers: []string{"ab", "c"}}, {Managers: []string{"a", "bc"}}},
		"lists": {{Managers: []string{"a"}}, {Ports: []string{"a"}}},
		"none":  {{Needs: map[string]string{"a": ""}}, {Needs: map[string]string{}}},
		"peers": {{Peers: []apply.Peer{{AllowedIPs: []netip.Prefix{p("10.0.0.0/8")}}, {}}},
			{Peers: []apply.Peer{{}, {AllowedIPs: []netip.Prefix{p("10.0.0.0/8")}}}}},
		"the kernel's order": {{Link: &apply.Link{Kind: "wireguard"}, Peers: []apply.Peer{{PSK: "a"}, {PSK: "b"}}},
			{Link: &apply.Link{Kind: "wireguard"}, Peers: []apply.Peer{{PSK: "b"}, {PSK: "a"}}}},
	} {
		if bytes.Equal(spell(&pair[0]), spell(&pair[1])) {
			t.Errorf("%s: two states have the same text", name)
		}
	}
}

// TestSpellSame: a state is the same whatever port a peer sends from, and in whatever
// order a device in user space has its peers.
func TestSpellSame(t *testing.T) {
	one, two := apply.Peer{Endpoint: netip.MustParseAddrPort("192.0.2.1:1")}, apply.Peer{Keepalive: 25}
	two.PublicKey[0] = 1
	state := func(peers ...apply.Peer) []byte {
		return spell(&apply.State{Link: &apply.Link{Kind: "tun"}, Peers: peers})
	}
	text := state(one, two)
	one.Endpoint = netip.MustParseAddrPort("192.0.2.1:2")
	if !bytes.Equal(text, state(two, one)) {
		t.Error("the same state has two texts")
	}
	one.Endpoint = netip.MustParseAddrPort("192.0.2.2:1")
	if bytes.Equal(text, state(two, one)) {
		t.Error("a peer at another address is not seen")
	}
}
