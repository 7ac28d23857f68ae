package main

import (
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/lazyregexp"
)

// hintOfFirewalld is the command in a finding about firewalld.
var hintOfFirewalld = lazyregexp.New(`(?m)^wgkeys: finding: firewall chain \S+ of table .* drops .*: (firewall-cmd [^,\n]*)`)

// TestLabApplyFirewalld: beside the real firewalld, with either of its backends, plan names
// the port that its zone closes and the forwarding that it refuses, in its own words: what
// it says to run opens both, and is kept when firewalld reads its files again. That takes
// nothing away from the tunnel, and down nothing from firewalld.
func TestLabApplyFirewalld(t *testing.T) {
	if !besideFirewalls(t) {
		return
	}
	for _, backend := range []string{"nftables", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			u := &firewalldUsers{labtest.NewUsers(t), backend}
			u.start()
			u.opens()
			u.reloads()
			u.drops()
			u.zoneOfItsOwn()
			u.leaves()
		})
	}
}

// A firewalldUsers is the first users with a firewalld on shale, through which both families
// of basalt's leave.
type firewalldUsers struct {
	*labtest.Users
	backend string
}

const isolatedRuleset = "nft list ruleset | grep -v '^table inet wgkeys-wg0' | sed 's/counter packets [0-9]* bytes [0-9]*//'"

func (u *firewalldUsers) start() {
	u.Helper()
	unpackOn(u.Users, u.Shale, "firewalld")
	startBus(u.Users, u.Shale)
	u.Must(u.Router, "ip address add "+internet4+"/32 dev lo; ip -6 route add 2001:db8:5::/64 dev shale0")
	u.Must(u.Shale, "sed -i 's/^FirewallBackend=.*/FirewallBackend="+u.backend+"/' /etc/firewalld/firewalld.conf")
	u.Must(u.Shale, "setsid firewalld --nofork --nopid </dev/null >/run/firewalld.log 2>&1 &")
	u.Until("firewalld", func() bool { return u.Run(u.Shale, "firewall-cmd --state").Code == 0 })
	u.Tunnel(wholeTunnel)
	u.Clone()
}

// hints are the commands that plan says on shale.
func (u *firewalldUsers) hints() (list []string) {
	u.Helper()
	r := u.Run(u.Shale, "wgkeys plan")
	for _, found := range hintOfFirewalld().FindAllStringSubmatch(r.Stderr, -1) {
		list = append(list, found[1])
	}
	if strings.Count(r.Stderr, "finding:") != len(list) {
		u.Errorf("plan says\n%s", r.Stderr)
	}
	return list
}

// follow runs what plan says, each command once, until it says nothing more.
func (u *firewalldUsers) follow(when string, want ...string) {
	u.Helper()
	list := u.hints()
	for _, part := range want {
		if !strings.Contains(strings.Join(list, "\n"), part) {
			u.Errorf("%s: no hint has %q:\n%s", when, part, strings.Join(list, "\n"))
		}
	}
	for _, hint := range slices.Compact(list) { // of both families
		u.Must(u.Shale, hint)
	}
	if list := u.hints(); list != nil {
		u.Errorf("%s: afterwards the hints are\n%s", when, strings.Join(list, "\n"))
	}
}

// reaches has basalt begin its tunnel again, as one whom shale does not know yet.
func (u *firewalldUsers) reaches(when string, want bool) {
	u.Helper()
	u.Must(u.Shale, "wgkeys down -q && wgkeys apply -q")
	u.Must(u.Basalt, "wgkeys down -q && wgkeys apply -q")
	limit := map[bool]string{true: "15", false: "2"}[want]
	for _, addr := range []string{internet4, demo.Internet} {
		if r := u.Run(u.Basalt, "ping -n -q -c 1 -w "+limit+" "+addr); (r.Code == 0) != want {
			u.Errorf("%s: basalt reaches %s: %v, want %v", when, addr, r.Code == 0, want)
		}
	}
}

func (u *firewalldUsers) opens() {
	u.Helper()
	u.Must(u.Basalt, "wgkeys apply -q shale")
	if r := u.Run(u.Basalt, "wgkeys status shale"); r.Code != ui.ExitFindings || !strings.Contains(r.Stdout, "--add-port=30567/udp") {
		u.Errorf("status exits %d, and says\n%s", r.Code, r.Stdout)
	}
	u.reaches("at first", false)
	u.follow("at first", "firewall-cmd --permanent --zone=public --add-port=30567/udp && firewall-cmd --zone=public --add-port=30567/udp",
		"--zone=trusted --change-interface=wg0")
	u.reaches("with what plan says", true)
}

// reloads: a session goes on while firewalld makes its rules again.
func (u *firewalldUsers) reloads() {
	u.Helper()
	const own = "nft list table inet wgkeys-wg0; ip rule; wg show wg0 allowed-ips"
	before := u.Must(u.Shale, own)
	for _, reload := range []string{"--reload", "--complete-reload"} {
		u.Must(u.Basalt, "ping -n -q -i 0.01 -c 400 "+internet4+" >/root/lost </dev/null 2>&1 &")
		u.Must(u.Shale, "firewall-cmd "+reload)
		u.Must(u.Basalt, "while pidof ping; do sleep 0.1; done")
		// With iptables firewalld drops all for half a second, sessions that are open too.
		if lost := u.Must(u.Basalt, "cat /root/lost"); u.backend == "nftables" && !strings.Contains(lost, " 400 received") {
			u.Errorf("%s: %s", reload, lost)
		}
		if diff := demo.LineDiff(before, u.Must(u.Shale, own)); diff != "" {
			u.Errorf("%s changes what is ours:\n%s", reload, diff)
		}
		if list := u.hints(); list != nil {
			u.Errorf("after %s the hints are\n%s", reload, strings.Join(list, "\n"))
		}
	}
	u.reaches("after both", true)
}

// drops is what firewalld calls panic.
func (u *firewalldUsers) drops() {
	u.Helper()
	u.Must(u.Shale, "firewall-cmd --panic-on")
	if u.backend == "nftables" {
		u.follow("panic", "firewall-cmd --panic-off")
	} else {
		u.Must(u.Shale, "firewall-cmd --panic-off")
	}
	u.reaches("after panic", true)
}

// zoneOfItsOwn: where somebody has chosen a zone for the tunnel alone, a policy lets it
// through, and what peers reach of the host stays as it is.
func (u *firewalldUsers) zoneOfItsOwn() {
	u.Helper()
	u.Must(u.Shale, "firewall-cmd --permanent --zone=home --change-interface=wg0 && firewall-cmd --reload")
	u.reaches("in a zone that does not forward", false)
	u.follow("a zone of its own", "--new-policy=wg0-ANY && ")
	u.reaches("with the policy", true)
	if zone := u.Must(u.Shale, "firewall-cmd --get-zone-of-interface=wg0"); zone != "home\n" {
		u.Errorf("the zone is %s", zone)
	}
}

func (u *firewalldUsers) leaves() {
	u.Helper()
	u.Must(u.Basalt, "wgkeys down -q")
	before := u.Must(u.Shale, "wgkeys down -q; "+isolatedRuleset)
	u.Must(u.Shale, "wgkeys apply -q; wgkeys down -q")
	if diff := demo.LineDiff(before, u.Must(u.Shale, isolatedRuleset)); diff != "" {
		u.Errorf("after down:\n%s", diff)
	}
}
