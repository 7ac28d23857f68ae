package vault

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"filippo.io/age"
)

// spell writes metadata as the package comment has it, in other words than the
// package: a second implementation.
func spell(m Meta) string {
	key := m.PSK
	if strings.HasSuffix(m.File, ".key") {
		key = m.PublicKey.String()
	}
	var body []byte
	for _, f := range m.Recipients {
		body = append(body, f[:]...)
	}
	text := fmt.Sprintf("-> wgkeys 1 %s %s %s %sZ\n", m.Host, m.File, key, m.Created.Format("2006-01-02T15:04:05"))
	b64 := base64.RawStdEncoding.EncodeToString(body)
	for ; len(b64) >= 64; b64 = b64[64:] {
		text += b64[:64] + "\n"
	}
	return text + b64 + "\n"
}

// header completes stanzas to an age file, of which only the header is right.
func header(stanzas string) string {
	x := "-> X25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
	return "age-encryption.org/v1\n" + strings.Repeat(x, 8) + stanzas + "--- " + strings.Repeat("A", 43) + "\n"
}

func metas(t testing.TB) []Meta {
	t.Helper()
	m := Meta{Version: 1, Host: "shale", File: "wg0.key", PublicKey: newKey(t).PublicKey(), Created: madeAt}
	p := Meta{Version: 1, Host: "a_b-c", File: "w=g+0.basalt.psk", PSK: newPSK(t).Fingerprint(), Created: madeAt}
	var all []Meta
	for n := range 7 { // 3 and 6 recipients end at the end of a line
		f := fingerprint(fmt.Sprint(n))
		m.Recipients, p.Recipients = append(m.Recipients, f), append(p.Recipients, f)
		all = append(all, m, p)
	}
	return all
}

func TestStanza(t *testing.T) {
	for _, m := range metas(t) {
		s := &sealed{age: []byte(header(spell(m)))}
		if err := s.readMeta(); err != nil {
			t.Errorf("%v\n%s", err, spell(m))
		}
		if spell(s.meta) != spell(m) {
			t.Errorf("it comes back as\n%s, was\n%s", spell(s.meta), spell(m))
		}
	}
}

func TestStanzaRefused(t *testing.T) {
	m := metas(t)[2] // two recipients
	good := spell(m)
	p := metas(t)[3]
	psk := spell(p)
	public := m.PublicKey.String()
	for _, test := range []struct{ name, want, text string }{
		{"twice", "it has metadata twice", good + good},
		{"twice, another", "it has metadata twice", good + psk},
		{"version 2", "this program knows 1", strings.Replace(good, " 1 ", " 2 ", 1)},
		{"version 01", "this program knows 1", strings.Replace(good, " 1 ", " 01 ", 1)},
		{"no arguments", "does not have five arguments", "-> wgkeys\n\n"},
		{"version alone", "does not have five arguments", "-> wgkeys 1\n\n"},
		{"an argument less", "does not have five arguments", strings.Replace(good, " shale", "", 1)},
		{"an argument more", "does not have five arguments", strings.Replace(good, "Z\n", "Z more\n", 1)},
		{"host with a slash", "names no host and key file", strings.Replace(good, "shale", "sha/le", 1)},
		{"host with dots", "names no host and key file", strings.Replace(good, "shale", "..", 1)},
		{"host an option", "names no host and key file", strings.Replace(good, "shale", "-shale", 1)},
		{"host in upper case", "names no host and key file", strings.Replace(good, "shale", "Shale", 1)},
		{"file with a slash", "names no host and key file", strings.Replace(good, "wg0", "../wg0", 1)},
		{"file of another kind", "names no host and key file", strings.Replace(good, "wg0.key", "wg0.pub", 1)},
		{"file of the other kind", "the fingerprint", strings.Replace(good, "wg0.key", "wg0.psk", 1)},
		{"no public key", "the public key", strings.Replace(good, public, "-", 1)},
		{"public key without padding", "the public key", strings.Replace(good, public, public[:43], 1)},
		{"zero public key", "the public key", strings.Replace(good, public, strings.Repeat("A", 43)+"=", 1)},
		{"fingerprint in upper case", "the fingerprint", strings.Replace(psk, p.PSK, strings.ToUpper(p.PSK), 1)},
		{"fingerprint cut short", "the fingerprint", strings.Replace(psk, p.PSK, p.PSK[:62], 1)},
		{"time with an offset", "the time", strings.Replace(good, "05Z", "05+00:00", 1)},
		{"time with a fraction", "not spelled in the one way", strings.Replace(good, "05Z", "05.5Z", 1)},
		{"time with a comma", "not spelled in the one way", strings.Replace(good, "05Z", "05,0Z", 1)},
		{"time in lower case", "the time", strings.Replace(good, "05Z", "05z", 1)},
		{"no such time", "the time", strings.Replace(good, "01-02", "02-30", 1)},
		{"leap second", "the time", strings.Replace(good, "05Z", "60Z", 1)},
		{"no recipient", "names no recipient", good[:strings.Index(good, "\n")+1] + "\n"},
		{"key a fingerprint", "the recipients", strings.TrimSuffix(good, "\n")[:len(good)-4] + "\n"},
		{"a recipient twice", "the recipients", spell(Meta{Host: m.Host, File: m.File, PublicKey: m.PublicKey,
			Created: m.Created, Recipients: []Fingerprint{m.Recipients[0], m.Recipients[0]}})},
		{"more recipients than stanzas", "more recipients than it has", spell(Meta{Host: m.Host, File: m.File,
			PublicKey: m.PublicKey, Created: m.Created,
			Recipients: []Fingerprint{{1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}}})},
	} {
		s := &sealed{age: []byte(header(test.text))}
		if test.text == good {
			t.Errorf("%s: the test changes nothing", test.name)
		}
		if err := s.readMeta(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q\n%s", test.name, err, test.want, test.text)
		}
	}
}

// TestNeverAlone: the metadata does not make a file, and takes part in age's
// rule against mixing.
func TestNeverAlone(t *testing.T) {
	m := metas(t)[0]
	if _, err := encrypt(m, []byte("text"), nil, nil); err == nil {
		t.Error("a file without recipients")
	}
	for _, postQuantum := range []bool{false, true} {
		var r Recipient
		if err := r.parse(newRecipient(t, postQuantum)); err != nil {
			t.Fatal(err)
		}
		labels, err := r.labels()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := encrypt(m, []byte("text"), Recipients{r}, labels); err != nil {
			t.Error(err)
		}
		r.PostQuantum = !postQuantum
		if labels, err = r.labels(); err != nil {
			t.Fatal(err)
		}
		if _, err := encrypt(m, []byte("text"), Recipients{r}, labels); err == nil {
			t.Error("age does not see our labels")
		}
	}
	if _, err := new(metaIdentity).Unwrap([]*age.Stanza{m.stanza()}); !errors.Is(err, age.ErrIncorrectIdentity) {
		t.Errorf("Unwrap: %v", err)
	}
}

// FuzzStanza: what is accepted as metadata, out of a header that age accepts, is
// what a second implementation writes, byte for byte.
func FuzzStanza(f *testing.F) {
	for _, m := range metas(f) {
		f.Add(spell(m))
		f.Add(strings.Replace(spell(m), "05Z", "05.000Z", 1))
		f.Add(strings.Replace(spell(m), "05Z", "05+00:00", 1))
		f.Add(strings.ToUpper(spell(m)))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := &sealed{age: []byte(header(text))}
		if err := s.readMeta(); err != nil || s.meta.Version == 0 {
			return
		}
		// Grease around it is allowed, a second spelling is not.
		if !strings.Contains("\n"+text, "\n"+spell(s.meta)) {
			t.Errorf("%q is read as\n%s", text, spell(s.meta))
		}
		if strings.Count("\n"+text, "\n-> wgkeys ") != 1 {
			t.Errorf("%q has metadata twice", text)
		}
	})
}
