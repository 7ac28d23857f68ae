package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/keyring/fault"
)

func writeJournal(t testing.TB, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "wg0.journal"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadJournal(t *testing.T) {
	const header = "wgkeys journal 1\n"
	const addLink = "+\tlink wg0\t\tmade\n"
	const setSysctl = "+\tsysctl net/a/b\t0\t1\n"
	link, sysctl := journal.Link.Of("wg0"), journal.Sysctl.Of("net/a/b")
	tests := []struct {
		name, text string
		order      []journal.Resource
		err        string
	}{
		{name: "empty"},
		{name: "torn header", text: "wgkeys jour"},
		{name: "header only", text: header},
		{name: "one", text: header + addLink, order: []journal.Resource{link}},
		{name: "order", text: header + setSysctl + addLink, order: []journal.Resource{sysctl, link}},
		{name: "touched twice", text: header + setSysctl + addLink + setSysctl, order: []journal.Resource{sysctl, link}},
		{name: "gone", text: header + setSysctl + addLink + "-\tlink wg0\n", order: []journal.Resource{sysctl}},
		{name: "gone and back", text: header + addLink + setSysctl + "-\tlink wg0\n" + addLink,
			order: []journal.Resource{sysctl, link}},
		{name: "torn entry", text: header + addLink + setSysctl[:len(setSysctl)-1], order: []journal.Resource{link}},
		{name: "torn removal", text: header + addLink + "-\tlink wg0", order: []journal.Resource{link}},
		{name: "another version", text: "wgkeys journal 2\n" + addLink, err: "another version"},
		{name: "another file", text: "[Interface]\nPrivateKey = secret\n", err: "another version"},
		{name: "damaged", text: header + "+\tlink wg0\n" + addLink, err: "damaged"},
		{name: "two headers", text: header + header, err: "damaged"},
		{name: "not text", text: header + "\x00\x01\x02\n", err: "damaged"},
	}
	for _, test := range tests {
		dir := t.TempDir()
		writeJournal(t, dir, test.text)
		j, err := journal.Open(dir, "wg0")
		if test.err != "" {
			checkRefused(t, test.name, dir, test.err, err)
			continue
		}
		if err != nil || !slices.Equal(test.order, j.Order) || len(j.Entries) != len(test.order) {
			t.Errorf("%s: %v %v, %v", test.name, j.Order, j.Entries, err)
		}
	}
}

// checkRefused: err says what is wrong with the journal in dir, and so does what another
// tunnel reads of it.
func checkRefused(t *testing.T, name, dir, want string, err error) {
	t.Helper()
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok || !strings.Contains(err.Error(), want) || !strings.Contains(f.File, dir) {
		t.Fatalf("%s: %v", name, err)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("%s: the error quotes the file: %v", name, err)
	}
	if len(fault.Hints(err)) == 0 {
		t.Errorf("%s: no hint", name)
	}
	_, damaged, err := journal.Others(dir, "wg1")
	if err != nil || len(damaged) != 1 || !strings.Contains(damaged[0].Error(), want) ||
		len(fault.Hints(damaged[0])) == 0 {
		t.Errorf("%s: another tunnel gets %v, %v", name, damaged, err)
	}
}

// TestKeepsTheText: what an older or a newer version wrote is written again as it was.
func TestKeepsTheText(t *testing.T) {
	for _, text := range []string{"link wg0", "x", "x ", " x", "x  y", "unmanaged wg0 NetworkManager",
		"rule -4 priority 32764 table main suppress_prefixlength 7", "route 10.0.0.0/8 512 0", "proxy 2001:db8::1 eth0"} {
		dir := t.TempDir()
		before := "wgkeys journal 1\n+\tsysctl net/a/b\t0\t1\n+\t" + text + "\twas\tset\n"
		writeJournal(t, dir, before)
		j, err := journal.Open(dir, "wg0")
		if err != nil || len(j.Order) != 2 || j.Order[1].String() != text {
			t.Fatalf("%q: %v, %q", text, err, j.Order)
		}
		j.Set(j.Order[1], journal.Entry{Was: "was", Set: "other"})
		if err := j.Save(); err != nil {
			t.Fatal(err)
		}
		j.Delete(j.Order[1])
		if err := j.Save(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "wg0.journal"))
		if want := before + "+\t" + text + "\twas\tother\n-\t" + text + "\n"; err != nil || string(got) != want {
			t.Errorf("%v; the file is\n%s\nand not\n%s", err, got, want)
		}
	}
}

// FuzzJournal: whatever the file holds, reading it does not panic, and what is
// taken from it is whole: each resource once and in order.
func FuzzJournal(f *testing.F) {
	f.Add("")
	f.Add("wgkeys journal 1\n+\tlink wg0\t\tmade\n-\tlink wg0\n")
	f.Add("wgkeys journal 1\n+\tsysctl net/a/b\t0\t1\n+\tsysctl net/a/b\t0\t2\n-\tx\n+\tlink wg0\t\tmade\n+\ttorn")
	f.Add("wgkeys journal 2\n")
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		writeJournal(t, dir, text)
		j, err := journal.Open(dir, "wg0")
		if err != nil {
			return
		}
		seen := map[journal.Resource]bool{}
		for _, resource := range j.Order {
			if _, ok := j.Entries[resource]; !ok || seen[resource] {
				t.Errorf("%q is in order twice or without an entry", resource)
			}
			seen[resource] = true
		}
		if len(seen) != len(j.Entries) {
			t.Errorf("%d in order, %d entries", len(seen), len(j.Entries))
		}
		apply.MakeDown("wg0", &apply.State{Link: &apply.Link{}, Sysctls: map[string]string{"net/a/b": "1"}}, j, nil)
	})
}
