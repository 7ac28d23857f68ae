package apply_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
)

// paths reads "ADDRESS LINK MTU, …"; the addresses 4 and 6 are anywhere.
func paths(list string) map[netip.Addr]apply.Path {
	found := map[netip.Addr]apply.Path{apply.Anywhere[0]: {}, apply.Anywhere[1]: {}}
	for entry := range strings.SplitSeq(list, ", ") {
		var addr string
		var path apply.Path
		if _, err := fmt.Sscan(entry, &addr, &path.Link, &path.MTU); err != nil {
			continue
		}
		switch addr {
		case "4":
			found[apply.Anywhere[0]] = path
		case "6":
			found[apply.Anywhere[1]] = path
		default:
			found[netip.MustParseAddr(addr)] = path
		}
	}
	return found
}

const (
	mtuTunnel4 = "[hosts.shale]\naddresses = [\"10.0.0.1/24\"]\n[hosts.basalt]\naddresses = [\"10.0.0.2/24\"]\nendpoint = \"192.0.2.1\"\n"
	mtuTunnel6 = "[hosts.shale]\naddresses = [\"fd00::1/64\"]\n[hosts.basalt]\naddresses = [\"fd00::2/64\"]\nendpoint = \"[2001:db8::1]\"\n"
	mtuSecond  = "[hosts.chert]\naddresses = [\"10.0.0.3/24\"]\nendpoint = \"[2001:db8::3]\"\n"
	mtuHub     = "[hosts.shale]\naddresses = [\"10.0.0.1/24\"]\nendpoint = \"192.0.2.9\"\n[hosts.basalt]\naddresses = [\"10.0.0.2/24\"]\n"
)

// TestMTU: of the paths to the peers the narrowest counts, less what its own
// family takes, and the plan says which that is.
func TestMTU(t *testing.T) {
	named := strings.Replace(mtuTunnel4, "192.0.2.1", "basalt.example.net", 1)
	for _, test := range []struct {
		name, text, paths string
		mtu               int
		why, note         string
	}{
		{"nothing narrow", mtuTunnel4, "", 1420, "the tunnel's interface$", ""},
		{"Ethernet", mtuTunnel4, "192.0.2.1 eth0 1500", 1420, "the tunnel's interface$", ""},
		{"jumbo frames", mtuTunnel4, "192.0.2.1 eth0 9000", 1420, "the tunnel's interface$", ""},
		{"PPPoE, IPv4", mtuTunnel4, "192.0.2.1 ppp0 1492", 1420, "the tunnel's interface$", ""},
		{"PPPoE, IPv6", mtuTunnel6, "2001:db8::1 ppp0 1492", 1408,
			"the tunnel's interface: ppp0 carries 1492 bytes to peer basalt, OUTSIDE: 80 are WireGuard's, and the rest counts by 16", ""},
		{"IPv4", mtuTunnel4, "192.0.2.1 eth0 1460", 1376,
			"eth0 carries 1460 bytes to peer basalt, OUTSIDE: 60 are WireGuard's, and the rest counts by 16, without 1392, which is slow in user space", ""},
		{"IPv6", mtuTunnel6, "2001:db8::1 eth0 1460", 1376, "80 are WireGuard's", ""},
		{"the smaller one", mtuTunnel4 + mtuSecond, "192.0.2.1 eth0 1440, 2001:db8::3 eth1 1450", 1360,
			"eth1 carries 1450 bytes to peer chert", ""},
		{"the smaller one, IPv4", mtuTunnel4 + mtuSecond, "192.0.2.1 eth0 1420, 2001:db8::3 eth1 1450", 1360,
			"eth0 carries 1420 bytes to peer basalt", ""},
		{"one that has no path", mtuTunnel4 + mtuSecond, "192.0.2.1 eth0 1460", 1376, "to peer basalt", ""},
		{"no path at all", mtuTunnel4, "4 eth0 1300", 1420, "the tunnel's interface$", ""},
		{"who comes to us, IPv4", mtuHub, "4 eth0 1460", 1376, "eth0 carries 1460 bytes to peers that come to us", ""},
		{"who comes to us, either family", mtuHub, "4 eth0 1460, 6 eth0 1460", 1376, "80 are WireGuard's", ""},
		{"nobody comes to us", mtuTunnel4, "192.0.2.1 eth0 1500, 4 eth1 1400, 6 eth1 1400", 1420, "interface$", ""},
		{"a name, IPv4 alone", named, "192.0.2.7 eth0 1460, 4 eth0 1460", 1376, "60 are WireGuard's", ""},
		{"a name, that may lead to IPv6", named, "192.0.2.7 eth0 1460, 6 eth0 1500", 1376, "80 are WireGuard's", ""},
		{"IPv4 alone in a narrow tunnel", mtuTunnel4, "192.0.2.1 eth0 1280", 1216, "eth0 carries 1280 bytes", ""},
		{"IPv6 in a narrow tunnel", mtuTunnel6, "2001:db8::1 eth0 1280", 1280, "eth0 carries 1280 bytes",
			"IPv6, INSIDE, takes 1280 bytes, and 1200 fit: eth0 carries 1280 bytes to peer basalt, OUTSIDE: 80 are WireGuard's, and the rest counts by 16; larger packets go in fragments"},
		{"a parameter of IPv6", strings.Replace(mtuTunnel4, "[hosts.basalt]",
			"sysctls = {\"net.ipv6.conf.wg0.proxy_ndp\" = 0}\n[hosts.basalt]", 1),
			"192.0.2.1 eth0 1280", 1280, "", "IPv6, INSIDE, takes 1280 bytes, and 1220 fit"},
		{"no smaller than IPv4's", mtuTunnel4, "192.0.2.1 slip0 296", 576, "", ""},
		{"said by the file", "mtu = 1300\n" + mtuTunnel4, "192.0.2.1 eth0 1460", 1300, "the tunnel's interface$", ""},
		{"too much said by the file", "mtu = 1420\n" + mtuTunnel4, "192.0.2.1 eth0 1460", 1420, "the tunnel's interface$",
			"mtu = 1420 is more than fits: eth0 carries 1460 bytes to peer basalt, OUTSIDE: 60 are WireGuard's, and the rest counts by 16, without 1392, which is slow in user space; larger packets go in fragments, which some firewalls drop (left out, it would be 1376)"},
		{"more than Ethernet said by the file", "mtu = 1450\n" + mtuTunnel4, "192.0.2.1 eth0 1500", 1450,
			"the tunnel's interface$",
			"mtu = 1450 is more than fits: eth0 carries 1500 bytes to peer basalt, OUTSIDE: 60 are WireGuard's, and the rest counts by 16; larger packets go in fragments, which some firewalls drop (left out, it would be 1420)"},
		{"jumbo frames in the file", "mtu = 8920\n" + mtuTunnel4, "192.0.2.1 eth0 9000", 8920, "the tunnel's interface$", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := view(t, test.text, "shale", nil)
			h := newHost(t)
			h.names["basalt.example.net:51820"] = apply.Endpoint{Addr: netip.MustParseAddrPort("192.0.2.7:51820")}
			if test.paths != "" {
				h.paths = paths(test.paths)
			}
			plan := h.apply(t, v)
			var step *apply.Step
			for i := range plan.Steps {
				if _, ok := plan.Steps[i].Change.(apply.LinkChange); ok && step == nil {
					step = &plan.Steps[i]
				}
			}
			if got := h.links["wg0"].MTU; got != test.mtu {
				t.Errorf("the MTU is %d, want %d: %s", got, test.mtu, step.Why)
			}
			if !strings.Contains(step.Why+"$", test.why) {
				t.Errorf("why: %q, want %q", step.Why, test.why)
			}
			if notes := strings.Join(plan.Notes, "\n"); test.note == "" && strings.Contains(notes, "fragments") ||
				!strings.Contains(notes, test.note) {
				t.Errorf("the notes are %q, want %q", notes, test.note)
			}
			if again, _ := h.plan(t, v); len(again.Steps) > 0 {
				t.Errorf("the second plan is\n%s", spelled(again))
			}
		})
	}
}

// TestMTUFollows: the next apply follows the paths, in one step, and does
// nothing where they are away for the moment.
func TestMTUFollows(t *testing.T) {
	v := view(t, mtuTunnel4, "shale", nil)
	h := newHost(t)
	h.apply(t, v)
	for _, test := range []struct{ paths, want string }{
		{"192.0.2.1 eth0 1460",
			"ip link set wg0 mtu 1376  # its MTU: eth0 carries 1460 bytes to peer basalt, OUTSIDE: 60 are WireGuard's, and the rest counts by 16, without 1392, which is slow in user space\n"},
		{"192.0.2.1 eth0 1460", ""},
		{"4 eth0 1460", ""}, // no route to basalt
		{"192.0.2.1 wg7 1400",
			"ip link set wg0 mtu 1328  # its MTU: wg7 carries 1400 bytes to peer basalt, OUTSIDE: 60 are WireGuard's, and the rest counts by 16\n"},
		{"", "ip link set wg0 mtu 1420  # its MTU\n"},
	} {
		h.paths = nil
		if test.paths != "" {
			h.paths = paths(test.paths)
		}
		if got := spelled(h.apply(t, v)); got != test.want {
			t.Errorf("%q: the plan is %q, want %q", test.paths, got, test.want)
		}
	}
}

// TestMTUOfWhereAPeerIs: a peer that has gone elsewhere is reached there, until
// its endpoint in the tunnel file is another.
func TestMTUOfWhereAPeerIs(t *testing.T) {
	v := view(t, mtuTunnel4, "shale", nil)
	h := newHost(t)
	h.paths = paths("192.0.2.1 eth0 1500, 192.0.2.66 eth1 1400, 2001:db8::3 eth2 1460")
	h.apply(t, v)
	for _, p := range h.links["wg0"].peers {
		p.Endpoint = netip.MustParseAddrPort("192.0.2.66:51820")
	}
	h.apply(t, v)
	if got := h.links["wg0"].MTU; got != 1328 {
		t.Errorf("roamed: %d", got)
	}
	moved := view(t, strings.Replace(mtuTunnel4, "192.0.2.1", "[2001:db8::3]", 1), "shale", nil)
	h.apply(t, moved)
	if got := h.links["wg0"].MTU; got != 1376 {
		t.Errorf("moved: %d", got)
	}
	gone := view(t, mtuTunnel4+mtuSecond, "shale", nil)
	h.apply(t, gone)
	h.apply(t, view(t, mtuTunnel4, "shale", nil)) // without chert
	if plan, _ := h.plan(t, view(t, mtuTunnel4, "shale", nil)); len(plan.Steps) > 0 {
		t.Errorf("a peer that goes counts until the next apply:\n%s", spelled(plan))
	}
}
