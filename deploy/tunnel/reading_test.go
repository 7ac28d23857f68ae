package tunnel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"wgkeys/keyring"
)

// crowdedView has peers of all kinds, by numbers.
func crowdedView(numbers ...int) *View {
	v := &View{Tunnel: "wg0", Host: "hub", PublicKey: numberedKey(0), PrivateKeyFile: "/etc/wireguard/wg0.key",
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/16")}}
	for _, n := range numbers {
		p := Peer{Name: fmt.Sprintf("h%03d", n), PublicKey: numberedKey(n), AllowedIPs: []netip.Prefix{numberedPrefix(n)}}
		switch n % 4 {
		case 1:
			p.Endpoint, p.Keepalive = fmt.Sprintf("198.51.100.1:%d", 5000+n), 25
		case 2:
			p.PresharedKeyFile = "/etc/wireguard/wg0." + p.Name + ".psk"
		case 3:
			p.NextPublicKey = numberedKey(n + 1000)
		}
		v.Peers = append(v.Peers, p)
		v.Routes = append(v.Routes, Route{Prefix: numberedPrefix(n), Peer: p.Name})
	}
	return v
}

func numberedPrefix(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(n >> 8), byte(n)}), 32)
}

func numberedKey(n int) (k keyring.PublicKey) {
	k[0], k[1], k[2] = 9, byte(n), byte(n>>8)
	return k
}

func textOf(t testing.TB, v *View) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := EncodeView(&b, v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// kept is the reading of a text as the next program finds it.
func kept(t testing.TB, text []byte) *Reading {
	t.Helper()
	r, err := Read(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, ok := r.AppendBinary(nil)
	if !ok {
		t.Fatal("nothing is kept of the reading")
	}
	before := KeptReading(string(text), string(b))
	if before == nil {
		t.Fatal("what was kept cannot be read")
	}
	return before
}

// changes are what may happen to a view from one text to the next. Some make it
// invalid: the same thing twice, a route to nobody.
var changes = []func(r *rand.Rand, v *View){
	func(r *rand.Rand, v *View) { pick(r, v.Peers).Keepalive = r.IntN(30) },
	func(r *rand.Rand, v *View) { pick(r, v.Peers).PublicKey = numberedKey(r.IntN(40)) },
	func(r *rand.Rand, v *View) { pick(r, v.Peers).NextPublicKey = numberedKey(r.IntN(40)) },
	func(r *rand.Rand, v *View) { pick(r, v.Peers).Name = fmt.Sprintf("h%03d", r.IntN(40)) },
	func(r *rand.Rand, v *View) { pick(r, v.Peers).PresharedKeyFile = pick(r, v.Peers).PresharedKeyFile },
	func(r *rand.Rand, v *View) { pick(r, v.Peers).AllowedIPs = pick(r, v.Peers).AllowedIPs },
	func(r *rand.Rand, v *View) { pick(r, v.Peers).AllowedIPs[0] = numberedPrefix(r.IntN(40)) },
	func(r *rand.Rand, v *View) { pick(r, v.Peers).Endpoint = "198.51.100.7" }, // without a port
	func(r *rand.Rand, v *View) { pick(r, v.Routes).Prefix = numberedPrefix(r.IntN(40)) },
	func(r *rand.Rand, v *View) { pick(r, v.Routes).Peer = fmt.Sprintf("h%03d", r.IntN(40)) },
	func(r *rand.Rand, v *View) { pick(r, v.Routes).Metric = r.IntN(3) },
	func(r *rand.Rand, v *View) {
		i := r.IntN(len(v.Peers))
		v.Peers = slices.Delete(v.Peers, i, i+1)
	},
	func(r *rand.Rand, v *View) {
		i := r.IntN(len(v.Routes))
		v.Routes = slices.Delete(v.Routes, i, i+1)
	},
	func(r *rand.Rand, v *View) {
		more := crowdedView(r.IntN(40))
		v.Peers = slices.Insert(v.Peers, r.IntN(len(v.Peers)), more.Peers...)
		v.Routes = slices.Insert(v.Routes, r.IntN(len(v.Routes)), more.Routes...)
	},
	func(r *rand.Rand, v *View) { slices.Reverse(v.Peers) },
	func(r *rand.Rand, v *View) { v.Host = fmt.Sprintf("h%03d", r.IntN(40)) },
	func(r *rand.Rand, v *View) { v.PublicKey = numberedKey(r.IntN(40)) },
	func(r *rand.Rand, v *View) {
		v.PrivateKeyFile = cmpOr(pick(r, v.Peers).PresharedKeyFile, v.PrivateKeyFile)
	},
	func(r *rand.Rand, v *View) { v.MTU = 100 + r.IntN(3000) },
	func(r *rand.Rand, v *View) { v.Sysctls = map[string]string{"net.core.rmem_max": "7"} },
}

func pick[T any](r *rand.Rand, list []T) *T { return &list[r.IntN(len(list))] }

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// A text is read the same, and refused the same, whatever was read before.
func TestReadAgain(t *testing.T) {
	refused, sure := 0, 0
	for seed := range 4000 {
		r := rand.New(rand.NewPCG(uint64(seed), 14))
		before := kept(t, textOf(t, crowdedView(3, 5, 6, 7, 12, 13, 18, 20, 33)))
		v := crowdedView(3, 5, 6, 7, 12, 13, 18, 20, 33)
		for range r.IntN(4) {
			changes[r.IntN(len(changes))](r, v)
		}
		text := textOf(t, v)
		alone, wantErr := Read(text, nil)
		again, err := Read(text, before)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("seed %d: refused with %v, and alone with %v\n%s", seed, err, wantErr, text)
		}
		if !reflect.DeepEqual(again.View, alone.View) {
			t.Fatalf("seed %d: read as %+v, and alone as %+v", seed, again.View, alone.View)
		}
		if err != nil {
			refused++
			continue
		}
		if _, d, _ := readAgain(string(text), before); d.surelyValid(again.View) {
			sure++
		}
		if once := textOf(t, again.View); !bytes.Equal(once, text) {
			t.Fatalf("seed %d: %s\ncame back as\n%s", seed, text, once)
		}
		kept(t, text)
	}
	if refused < 100 || sure < 1000 {
		t.Errorf("of 4000 views %d are refused and %d are valid without a look at all: the test tries too little", refused,
			sure)
	}
}

// Of a text in which little changed little is parsed.
func TestLittleIsParsed(t *testing.T) {
	var numbers []int
	for n := range 400 {
		numbers = append(numbers, n+1)
	}
	v := crowdedView(numbers...)
	before := kept(t, textOf(t, v))
	v.Peers[7].Keepalive = 9
	v.Peers = slices.Delete(v.Peers, 300, 301)
	v.Routes = slices.Delete(v.Routes, 300, 301)
	v.MTU = 1400
	again, err := Read(textOf(t, v), before)
	if err != nil || again.fresh > 6 || again.MostlyNew() {
		t.Errorf("%d values of 800 were parsed, for three changes; %v", again.fresh, err)
	}
}

// A reading that is cut off or changed is none, or one of the same length: it never
// makes the program panic.
func TestKeptReadingIsDamaged(t *testing.T) {
	text := textOf(t, crowdedView(3, 5, 6, 7))
	r, err := Read(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := r.AppendBinary(nil)
	for i := range b {
		if KeptReading(string(text), string(b[:i])) != nil {
			t.Fatalf("%d bytes of %d are enough", i, len(b))
		}
		other := bytes.Clone(b)
		other[i] ^= 0xff
		KeptReading(string(text), string(other))
	}
}

// Each field of a peer and of a route that a text has is kept: a new one has to be.
func TestAllFieldsAreKept(t *testing.T) {
	p, r := Peer{}, Route{}
	fill(t, reflect.ValueOf(&p).Elem())
	fill(t, reflect.ValueOf(&r).Elem())
	from := &Reading{text: "text", peers: section[Peer]{[]Peer{p}, []span{{0, 1}}}, routes: section[Route]{[]Route{r},
		[]span{{1, 2}}}}
	b, _ := from.AppendBinary(nil)
	back := KeptReading("text", string(b))
	if back == nil || !reflect.DeepEqual(back.peers, from.peers) || !reflect.DeepEqual(back.routes, from.routes) {
		t.Errorf("%+v came back as %+v", from, back)
	}
}

func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("json") == "-" { // it is in no text
			continue
		}
		switch f := v.Field(i); f.Interface().(type) {
		case string:
			f.SetString(v.Type().Field(i).Name)
		case int:
			f.SetInt(int64(1000 + i))
		case keyring.PublicKey:
			f.Set(reflect.ValueOf(numberedKey(i + 1)))
		case netip.Addr:
			f.Set(reflect.ValueOf(netip.MustParseAddr("10.0.0.7")))
		case netip.Prefix:
			f.Set(reflect.ValueOf(netip.MustParsePrefix("2001:db8::/64")))
		case []netip.Prefix:
			f.Set(reflect.ValueOf([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::/0")}))
		default:
			t.Fatalf("%s.%s: how is a %s kept?", v.Type().Name(), v.Type().Field(i).Name, f.Type())
		}
	}
}
