package remote

import (
	"strings"
	"testing"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/words"
)

// TestAdvice: a hint of a host is one that can be run on this machine, or says where.
func TestAdvice(t *testing.T) {
	one := &tunnel.Tunnel{Name: "wg0"}
	several := &tunnel.Tunnel{Name: "wg0", Commands: words.Commands{Tunnel: "wg0"}}
	for _, c := range []struct {
		t          *tunnel.Tunnel
		hint, want string
	}{
		{one, "wgkeys apply", "wgkeys apply shale"},
		{several, "wgkeys apply", "wgkeys apply -t wg0 shale"},
		{one, "sudo wgkeys apply", "wgkeys apply shale"},
		{one, "wgkeys confirm -t wg0", "wgkeys confirm shale"},
		{several, "wgkeys confirm -t wg0", "wgkeys confirm -t wg0 shale"},
		{one, "wgkeys apply --confirm 0", "wgkeys apply --confirm 0 shale"},
		{one, "wgkeys down basalt", "wgkeys down basalt"},
		{one, "wgkeys push basalt", "wgkeys push basalt"},
		{one, "wgkeys push -t wg0", "wgkeys push shale"},
		{one, "wgkeys install", "wgkeys install shale"},
		{one, "wgkeys down -t wg1", "wgkeys down -t wg1 shale"},
		{several, "wgkeys down -t wg1", "wgkeys down -t wg1 shale"},
		{one, "wgkeys apply --kept -t wg0", "on shale: wgkeys apply --kept -t wg0"},
		{one, "wgkeys import --undo -t wg0", "on shale: wgkeys import --undo -t wg0"},
		{one, "wgkeys plan -t wg0, and wait", "as shale says: wgkeys plan -t wg0, and wait"},
		{several, "git pull, then wgkeys apply shale; or: wgkeys rotate --unknown shale; or: wgkeys down -t wg1",
			"as shale says: git pull, then wgkeys apply -t wg0 shale; or: wgkeys rotate -t wg0 --unknown shale; or: wgkeys down -t wg1"},
		{one, "git pull, then wgkeys apply shale", "as shale says: git pull, then wgkeys apply shale"},
		{one, "wgkeys apply; reboot", "as shale says: wgkeys apply; reboot"},
	} {
		if got := fromHere(c.t, "shale", c.hint); got != c.want {
			t.Errorf("%s: %s, want %s", c.hint, got, c.want)
		}
	}
}

// TestAdviser: lines are adapted however they arrive, and nothing else is changed.
func TestAdviser(t *testing.T) {
	const said = "wgkeys: wg0: done\nwgkeys: wg0: old; new: wgkeys down -t wg0, then wgkeys apply -t wg0\n" +
		"wgkeys: error: none\nwgkeys: hint: wgkeys apply\r\n\nwgkeys: hint: wgkeys down"
	const want = "wgkeys: wg0: done\nwgkeys: wg0: old; new: wgkeys down shale, then wgkeys apply shale\n" +
		"wgkeys: error: none\nwgkeys: hint: wgkeys apply shale\r\n\nwgkeys: hint: wgkeys down shale"
	for size := 1; size <= len(said); size++ {
		var got strings.Builder
		a := &adviser{w: &got, t: &tunnel.Tunnel{Name: "wg0"}, host: "shale"}
		for rest := said; rest != ""; {
			n := min(size, len(rest))
			if _, err := a.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := a.flush(); err != nil || got.String() != want {
			t.Fatalf("in pieces of %d: %q, %v", size, got.String(), err)
		}
	}
	var long strings.Builder
	a := &adviser{w: &long, t: &tunnel.Tunnel{Name: "wg0"}, host: "shale"}
	a.Write([]byte(strings.Repeat("x", 3*longest)))
	if long.Len() != 3*longest {
		t.Error("a line without an end is kept")
	}
}
