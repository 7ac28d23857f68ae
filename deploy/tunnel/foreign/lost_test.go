package foreign_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
)

// TestNeedsTable: a route that one of several endpoints is in needs a table.
func TestNeedsTable(t *testing.T) {
	r := tunnel.Route{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Peer: "hub"}
	for endpoint, want := range map[string]bool{
		"": false, "192.0.2.1:7": true, "198.51.100.1:7": false, "a.example:7": false,
		"a.example:7,192.0.2.1:7": true, "192.0.2.1:7,198.51.100.1:7": true,
	} {
		v := &tunnel.View{Routes: []tunnel.Route{r}, Peers: []tunnel.Peer{{Name: "hub", Endpoint: endpoint}}}
		if got := foreign.NeedsTable(v, r); got != want {
			t.Errorf("%s: %v", endpoint, got)
		}
	}
}

// TestLost: what no other program does is reported, where there is something of it, but not to a
// telephone.
func TestLost(t *testing.T) {
	all := []tunnel.Route{{Prefix: netip.MustParsePrefix("::/0"), Peer: "hub"}}
	for _, test := range []struct {
		view tunnel.View
		want string
	}{
		{tunnel.View{}, ""},
		{tunnel.View{Routes: all}, "leave in the clear"},
		{tunnel.View{Routes: all, NoKillSwitch: true}, ""},
		{tunnel.View{Routes: all, Table: 7}, ""}, // apply has none either
		{tunnel.View{Routes: all, About: tunnel.About{Unmanaged: true}}, ""},
		{tunnel.View{Routes: []tunnel.Route{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Peer: "hub"}}}, ""},
		{tunnel.View{DNS: []string{"10.0.0.1"}}, ""},
		{tunnel.View{DNS: []string{"10.0.0.1", "example.net", "~lan"}}, "not only for those of example.net, ~lan"},
		{tunnel.View{DNS: []string{"10.0.0.1", "example.net", "~."}}, ""},
		{tunnel.View{DNS: []string{"10.0.0.1", "example.net"}, About: tunnel.About{Unmanaged: true}}, ""},
		{tunnel.View{Peers: []tunnel.Peer{{Name: "hub", Endpoint: "a.example:1"}}}, ""},
		{tunnel.View{Peers: []tunnel.Peer{{Name: "hub", Endpoint: "a.example:1,b.example:2,192.0.2.1:3"}}},
			"hub is tried at a.example:1 alone, and no longer at b.example:2, 192.0.2.1:3"},
	} {
		v := &test.view
		got := strings.Join(slices.Concat(foreign.Untried(v), foreign.InTheClear(v), foreign.EveryName(v)), "; ")
		if !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
