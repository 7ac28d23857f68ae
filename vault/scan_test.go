package vault

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"filippo.io/age/armor"

	"wgkeys/keyring/files"
)

// armored is a file as a vault has it.
func armored(t testing.TB, file string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := armor.NewWriter(&b)
	_, err := w.Write([]byte(file))
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sameAsAge holds that what is scanned is what age reads.
func sameAsAge(t *testing.T, text []byte) (taken bool) {
	t.Helper()
	m, ok := scanMeta(text)
	if !ok {
		return false
	}
	if want, err := ReadMeta("", text); err != nil || !reflect.DeepEqual(m, want) {
		t.Errorf("scanned as %+v, age reads %+v (%v)\n%q", m, want, err, text)
	}
	return true
}

// headers are good ones and some that are almost good.
func headers(t testing.TB) (all []string) {
	for _, m := range metas(t) {
		all = append(all, header(spell(m)), header(spell(m))+"\x00\r\n--- payload")
	}
	good := all[2]
	for _, change := range [][2]string{
		{"v1\n", "v2\n"}, {"v1\n", "v1\r\n"}, {"-> X", "->X"}, {"-> X", "->  X"}, {"-> X", "-- X"}, {" A", " "},
		{"-> wgkeys", "-> wgkey"}, {"Z\n", "Z \n"}, {"Z\n", "Z\r\n"}, {"Z\n", ".5Z\n"}, {"--- A", "---A"},
		{"--- A", "--- AA"}, {"--- A", "--- \rA"}, {"A\n--- ", "B\n--- "}, {"AAAA\n--- ", "\n--- "}, {"-> X", "->\tX"},
		{"\nAAAA", "\n\rAAA"}, {"\nAAAA", "\nAAA="}, {"-> wgkeys", "-> wgkeys\n\n-> wgkeys"}, {"-> wgkeys", "-> w\x7fgkeys"},
	} {
		all = append(all, strings.ReplaceAll(good, change[0], change[1]))
	}
	for _, from := range []string{"\n", "A", "-> "} {
		i := strings.LastIndex(good, from)
		all = append(all, good[:i], good[:i]+"="+good[i:], good[:i]+good[i+1:])
	}
	return append(all, strings.Replace(good, "-> X", strings.Repeat("-> x\n\n", 1100)+"-> X", 1),
		strings.Replace(good, "-> X25519", "-> X"+strings.Repeat(" x", 130), 1), header(""))
}

// texts are an armor and others that are almost one.
func texts(t testing.TB, file string) (all [][]byte) {
	good := string(armored(t, file))
	all = append(all, []byte(good))
	for _, change := range [][2]string{
		{"\n", "\r\n"}, {"-----BEGIN", "\n-----BEGIN"}, {"FILE-----\n", "FILE-----\n\n"}, {"\n-----END", "-----END"},
		{"\n-----END", "\n\n-----END"}, {"\n-----END", "\n====\n-----END"}, {"\n-----END", "=\n-----END"},
		{"\n-----END", "\r\n-----END"}, {"\n-----END", "\nAAAA\n-----END"}, {"AGE ", "AGE  "}, {"END AGE", "END"},
	} {
		all = append(all, []byte(strings.ReplaceAll(good, change[0], change[1])))
	}
	lines := strings.SplitAfter(good, "\n")
	middle := lines[2]
	for _, other := range []string{"", "\n", middle[:60] + "\n", middle[:63] + "\n", middle[:63] + "=\n",
		middle[:32] + "\n" + middle[32:], middle[:64] + middle} {
		all = append(all, []byte(strings.Join(lines[:2], "")+other+strings.Join(lines[3:], "")))
	}
	return append(all, []byte(good+"\n"), []byte(good+"x"), []byte(good[:len(good)-1]), []byte(file), nil)
}

func TestScan(t *testing.T) {
	for i, h := range headers(t) {
		if taken := sameAsAge(t, armored(t, h)); !taken && i < 2*len(metas(t)) {
			t.Errorf("not taken, and spelled as age writes it:\n%s", h)
		}
		for _, text := range texts(t, h) {
			sameAsAge(t, text)
		}
	}
}

// What is sealed here is scanned, whoever it is for; and with a snapshot the vault says
// the same of it.
func TestScanSealed(t *testing.T) {
	for _, hybrid := range []bool{false, true} {
		dir := t.TempDir()
		r, err := NewIdentity(filepath.Join(t.TempDir(), "id"), hybrid, madeAt)
		if err != nil {
			t.Fatal(err)
		}
		v := Vault{Dir: filepath.Join(dir, "vault")}
		os.Mkdir(v.Dir, 0o755)
		if err := os.WriteFile(filepath.Join(v.Dir, recipientsFile), []byte(r+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := v.SealKey("shale", "wg0.key", newKey(t), madeAt.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		want, err := v.Meta("shale", "wg0.key")
		if err != nil {
			t.Fatal(err)
		}
		v.Snapshot = files.Take(dir, "vault")
		if got, ok := v.seenMeta("shale", "wg0.key"); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("hybrid %t: %t %+v, want %+v", hybrid, ok, got, want)
		}
	}
}

func FuzzScan(f *testing.F) {
	for i, h := range headers(f) {
		f.Add([]byte(h), false)
		if i%8 == 0 {
			for _, text := range texts(f, h) {
				f.Add(text, true)
			}
		}
	}
	f.Fuzz(func(t *testing.T, file []byte, asItIs bool) {
		if !asItIs {
			file = armored(t, string(file))
		}
		sameAsAge(t, file)
	})
}
