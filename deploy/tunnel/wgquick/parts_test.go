package wgquick

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/foreign"
)

const aKey = "PublicKey = TFipg9QLm/B8sjZ9mzkSgXfl59bqXQQrl6U4KKbsPgE=\n"

// dependent are files of which a part depends on another one, or is wrong.
var dependent = map[string]string{
	"a comment before the cut": "[Interface]\nMTU = 1400\n# phone\n[Peer]\n" + aKey,
	"a comment by itself":      "[Interface]\nMTU = 1400\n\n# phone\n\n[Peer]\n" + aKey,
	"a peer commented out":     "[Interface]\nMTU = 1400\n#[Peer]\n#x\n[Peer]\n" + aKey,
	"the interface at the end": "[Peer]\n" + aKey + "[Peer]\n" + aKey + "[Interface]\nMTU = 1400\n",
	"a hook at the end":        "[Peer]\n" + aKey + "[Peer]\n" + aKey + "[Interface]\nPostUp = ip link\n",
	"an error before the cut":  "[Interface]\nMTU = x\n[Peer]\n" + aKey,
	"an error after the cut":   "[Interface]\nMTU = 1400\n[Peer]\nPublicKey = x\n",
	"another spelling":         "[Interface]\nMTU = 1400\n[Peer]\n" + aKey + "[peer]\n" + aKey,
}

// FuzzParts holds that a file which is read in parts, wherever it is cut, is the device that it
// is as a whole.
func FuzzParts(f *testing.F) {
	for _, text := range dependent {
		f.Add([]byte(text))
	}
	paths, err := filepath.Glob("../formats/testdata/wg-quick*/*.conf")
	if err != nil || len(paths) == 0 {
		f.Fatal(len(paths), err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("[Interface] # phone\n[Peer]# phone\n[Peer]\n" + aKey))
	f.Fuzz(func(t *testing.T, text []byte) { joined(t, text) })
}

// TestParts: files of peers that are each in one place are read in parts, and files of which
// the parts depend on each other are not.
func TestParts(t *testing.T) {
	var b strings.Builder
	b.WriteString("# a server\r\n[Interface]\nPostUp = true # a hook\nAddress = 10.0.0.1/24\nMTU = 1400\n")
	for i := range 40 {
		fmt.Fprintf(&b, "[Peer]\n# phone %d\n%s#its address\n\nAllowedIPs = 10.0.0.%d, 10.0.0.0/8 # all\n", i, aKey, i)
		b.WriteString("Endpoint =\n") // which is left out
	}
	b.WriteString("# the end\n")
	if got := joined(t, []byte(b.String())); got != 41 {
		t.Errorf("of 40 single cuts and all of them together, %d were read in parts", got)
	}
	for name, text := range dependent {
		if got := joined(t, []byte(text)); got != 0 {
			t.Errorf("%s: read in parts", name)
		}
	}
}

// joined reads text in parts, with each possible cut alone and with all of them, and returns how
// many times that was possible. Each time the result has to be that of the whole.
func joined(t *testing.T, text []byte) (times int) {
	f := foreign.File{Name: "wg0.conf", Text: text}
	whole := newParser(f, &foreign.Reader{Tool: tool})
	whole.lines(text, 0)
	whole.end()
	check := func(list [][]byte) {
		p := parts(f, list)
		if p == nil {
			return
		}
		times++
		if err := whole.Err(); err != nil {
			t.Errorf("in %d parts there is no error in a file with %v:\n%s", len(list), err, text)
		}
		if len(whole.d.Peers) == 0 {
			whole.d.Peers = []foreign.Peer{}
		}
		same := whole.section == p.section && whole.off == p.off && whole.saved == p.saved
		if !same || !reflect.DeepEqual(whole.hooks, p.hooks) || !reflect.DeepEqual(whole.d, p.d) {
			t.Errorf("in %d parts:\n%+v\nas a whole:\n%+v\nof\n%s", len(list), p.d, whole.d, text)
		}
	}
	var all [][]byte
	from := 0
	for {
		n := bytes.Index(text[from:], []byte(peerHeader))
		if n < 0 {
			break
		}
		at := from + n + 1
		check([][]byte{text[:at], text[at:]})
		all, from = append(all, text[from:at]), at
	}
	check(append(all, text[from:]))
	return times
}

// TestProcessors: a large file is the same on one processor and on several, with all errors.
func TestProcessors(t *testing.T) {
	const peers = 4 * leastPart / len(aKey)
	plain := func(more func(i int) string) string {
		var b strings.Builder
		b.WriteString("[Interface]\nAddress = 10.0.0.1/8\n")
		for i := range peers {
			b.WriteString(more(i))
		}
		return b.String()
	}
	peer := func(i int) string {
		key := fmt.Sprintf("%04d", i) + aKey[len("PublicKey = 0000"):]
		return "[Peer]\nPublicKey = " + key + fmt.Sprintf("AllowedIPs = 10.0.%d.%d\n", i>>8, i&255)
	}
	for name, text := range map[string]string{
		"plain":    plain(peer),
		"errors":   plain(func(i int) string { return peer(i) + strings.Repeat("x = 1\n", i%100/99) }),
		"one key":  plain(peer) + peer(7) + "Endpoint = 192.0.2.1:1\n",
		"one IP":   plain(peer) + "[Peer]\n" + aKey + "AllowedIPs = 10.0.0.9, 10.0.9.9\n",
		"no key":   plain(peer) + "[Peer]\n",
		"comments": plain(func(i int) string { return fmt.Sprintf("\n# phone %d\n", i) + peer(i) }),
		"at last":  plain(peer) + "[Interface]\nMTU = 1300\n",
	} {
		read := func(processors int) ([]*foreign.Device, string) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			devices, err := Parse([]foreign.File{{Name: "wg0.conf", Text: []byte(text)}})
			return devices, fmt.Sprint(err)
		}
		want, wantErr := read(1)
		got, gotErr := read(4)
		if gotErr != wantErr || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: on one processor %d devices, %s; on several %d, %s", name, len(want), wantErr, len(got), gotErr)
		}
		if list := got; name == "one IP" && len(list[0].Peers[9].AllowedIPs)+len(list[0].Peers) != peers+1 {
			t.Error("the later peer has not got the prefix of the earlier one:", list[0].Peers[9])
		} else if name == "one key" && (list[0].Peers[7].Endpoint == "" || len(list[0].Peers) != peers) {
			t.Error("the peers with one key are not one:", list[0].Peers[7])
		}
		if (wantErr == "<nil>") != (name != "errors" && name != "no key") {
			t.Errorf("%s: %s", name, wantErr)
		}
	}
}
