package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
	"wgkeys/keyring/lazyregexp"
)

// A throughCase is a packet filter as a program on shale makes it for its own networks. What
// goes from basalt to a network of shale's is dropped or not, and found or not.
type throughCase struct {
	name, set, unset string
	reach            string   // how basalt tries, see the reach… below
	wants            []string // what findings drop; nil: nothing is dropped
	then             string   // in all of them, how to keep the rule
}

const (
	reachGuest     = "ping -n -c 1 -w $S 192.168.122.7"
	reachGuest6    = "ping -6 -n -c 1 -w $S fd00:122::7"
	reachContainer = "ping -n -c 1 -w $S 172.17.0.2"
	reachPublished = "timeout $S bash -c '</dev/tcp/172.17.0.2/22'"

	toGuest      = "IPv4 from the tunnel to 192.168.122.0/24 on virbr0"
	toGuest6     = "IPv6 from the tunnel to fd00:122::/64 on virbr0"
	toContainer  = "IPv4 from the tunnel to 172.17.0.0/16 on docker0"
	toPublished  = "IPv4 from the tunnel to 172.17.0.2 on docker0"
	byHook       = "and for good in /etc/libvirt/hooks/network; or give that network of libvirt's <forward mode='open'/>"
	byThemselves = "and keep that where this firewall is configured"
	byDaemonJSON = `and for good "allow-direct-routing": true in /etc/docker/daemon.json, from Docker 28.2 on`
	byMode       = "and for good make that network of Docker's with gateway_mode_ipv4=nat-unprotected"
)

// libvirts are the rules of libvirt's "default" network with one of its backends
// (tests/networkxml2firewalldata there), behind whatever else is in FORWARD.
func libvirts(tool, network, in string) string {
	return strings.NewReplacer("$X", tool, "$N", network, "$IN", in).Replace(`
		$X -N LIBVIRT_FWO; $X -N LIBVIRT_FWI; $X -N LIBVIRT_FWX
		$X -I FORWARD -j LIBVIRT_FWO; $X -I FORWARD -j LIBVIRT_FWI; $X -I FORWARD -j LIBVIRT_FWX
		$X -I LIBVIRT_FWO -i virbr0 -j REJECT
		$X -I LIBVIRT_FWI -o virbr0 -j REJECT
		$X -I LIBVIRT_FWX -i virbr0 -o virbr0 -j ACCEPT
		$X -I LIBVIRT_FWO -s $N -i virbr0 -j ACCEPT
		$X -I LIBVIRT_FWI -d $N -o virbr0 $IN -j ACCEPT
		$X -t nat -N LIBVIRT_PRT; $X -t nat -I POSTROUTING -j LIBVIRT_PRT
		$X -t nat -I LIBVIRT_PRT -s $N ! -d $N -j MASQUERADE
		$X -t nat -I LIBVIRT_PRT -s $N -p tcp ! -d $N -j MASQUERADE --to-ports 1024-65535`)
}

const answersOnly = "-m conntrack --ctstate ESTABLISHED,RELATED"

const libvirtsTable = `nft 'table ip libvirt_network {
	chain guest_cross { iif virbr0 oif virbr0 counter accept; }
	chain guest_input {
		oif virbr0 ip daddr 192.168.122.0/24 ct state related,established counter accept
		oif virbr0 counter reject
	}
	chain guest_output { ip saddr 192.168.122.0/24 iif virbr0 counter accept; iif virbr0 counter reject; }
	chain forward {
		type filter hook forward priority 0; policy accept
		counter jump guest_cross; counter jump guest_input; counter jump guest_output
	}
	chain guest_nat {
		type nat hook postrouting priority 100; policy accept
		ip saddr 192.168.122.0/24 ip daddr 224.0.0.0/24 counter return
		meta l4proto tcp ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 counter masquerade to :1024-65535
		ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 counter masquerade
	}
}'`

// docker28 are the rules of Docker 28.2 and later with iptables; ports are those of a container
// that publishes some (integration/network/bridge/iptablesdoc there).
func docker28(tool, ports string) string {
	return strings.NewReplacer("$X", tool, "$PORTS", ports).Replace(`
		$X -N DOCKER; $X -N DOCKER-BRIDGE; $X -N DOCKER-CT; $X -N DOCKER-FORWARD; $X -N DOCKER-INTERNAL; $X -N DOCKER-USER
		$X -A FORWARD -j DOCKER-USER; $X -A FORWARD -j DOCKER-FORWARD
		$PORTS
		$X -A DOCKER ! -i docker0 -o docker0 -j DROP
		$X -A DOCKER-BRIDGE -o docker0 -j DOCKER
		$X -A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
		$X -A DOCKER-FORWARD -j DOCKER-CT; $X -A DOCKER-FORWARD -j DOCKER-INTERNAL; $X -A DOCKER-FORWARD -j DOCKER-BRIDGE
		$X -A DOCKER-FORWARD -i docker0 -j ACCEPT
		$X -t nat -N DOCKER; $X -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
		$X -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE`)
}

const trusts = "$X -t raw -A PREROUTING -d 172.17.0.2/32 -i wg0 -j ACCEPT; "

const publishes = `$X -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 22 -j ACCEPT
		$X -t raw -A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP`

// docker27 are those of earlier ones: what nobody accepts is left to the policy.
const docker27 = `
	$X -N DOCKER; $X -N DOCKER-ISOLATION-STAGE-1; $X -N DOCKER-ISOLATION-STAGE-2; $X -N DOCKER-USER
	$X -P FORWARD DROP
	$X -A FORWARD -j DOCKER-USER; $X -A FORWARD -j DOCKER-ISOLATION-STAGE-1
	$X -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
	$X -A FORWARD -o docker0 -j DOCKER
	$X -A FORWARD -i docker0 ! -o docker0 -j ACCEPT; $X -A FORWARD -i docker0 -o docker0 -j ACCEPT
	$X -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
	$X -A DOCKER-ISOLATION-STAGE-1 -j RETURN
	$X -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP; $X -A DOCKER-ISOLATION-STAGE-2 -j RETURN
	$X -A DOCKER-USER -j RETURN`

// dockersTable is that of Docker 29 with nftables, for a container that publishes a port or not.
func dockersTable(port, direct string) string {
	return strings.NewReplacer("$PORT", port, "$DIRECT", direct).Replace(`nft 'table ip docker-bridges {
	map filter-forward-in-jumps { type ifname : verdict; elements = { "docker0" : jump filter-forward-in__docker0 }; }
	map filter-forward-out-jumps { type ifname : verdict; elements = { "docker0" : jump filter-forward-out__docker0 }; }
	chain nat-prerouting-and-output { iifname != "docker0" tcp dport 8022 counter dnat to 172.17.0.2:22; }
	chain nat-PREROUTING {
		type nat hook prerouting priority dstnat; policy accept
		fib daddr type local counter jump nat-prerouting-and-output
	}
	chain raw-PREROUTING { type filter hook prerouting priority raw; policy accept; $DIRECT; }
	chain filter-forward-in__docker0 {
		ct state established,related counter accept
		iifname "docker0" counter accept
		$PORT
		counter drop
	}
	chain filter-forward-out__docker0 { ct state established,related counter accept; counter accept; }
	chain filter-FORWARD {
		type filter hook forward priority filter; policy accept
		oifname vmap @filter-forward-in-jumps
		iifname vmap @filter-forward-out-jumps
	}
}'`)
}

func with(tool, rules string) string { return strings.ReplaceAll(rules, "$X", tool) }

// without takes away all that a tool has made.
func without(tool string) string {
	return with(tool, "$X -P FORWARD ACCEPT; for t in filter nat raw; do $X -t $t -F; $X -t $t -X; done")
}

func throughCases(tool string) []throughCase {
	tool6 := strings.Replace(tool, "ip", "ip6", 1)
	return []throughCase{
		{"libvirt", libvirts(tool, "192.168.122.0/24", answersOnly), without(tool), reachGuest, []string{toGuest}, byHook},
		{"libvirt, IPv6", libvirts(tool6, "fd00:122::/64", answersOnly), without(tool6), reachGuest6, []string{toGuest6},
			byHook},
		{"libvirt, routed", libvirts(tool, "192.168.122.0/24", ""), without(tool), reachGuest, nil, ""},
		{"Docker", docker28(tool, ""), without(tool), reachContainer, []string{toContainer}, byThemselves},
		{"Docker, published", docker28(tool, with(tool, publishes)), without(tool), reachPublished, []string{toPublished},
			byDaemonJSON},
		{"Docker, trusted", docker28(tool, with(tool, trusts+publishes)), without(tool), reachPublished, nil, ""},
		{"Docker 27", with(tool, docker27), without(tool), reachContainer, []string{
			"IPv4 from the tunnel to eth0, " + toContainer + ", " + toGuest,
			"IPv4 answers from eth0 to the tunnel, IPv4 answers from 192.168.122.0/24 on virbr0 to the tunnel"}, byThemselves},
		{"Docker 27, what is reported already", with(tool, docker27+"; $X -I DOCKER-USER -i wg0 -j ACCEPT; "+
			"$X -I DOCKER-USER -o wg0 -m conntrack --ctstate ESTABLISHED -j ACCEPT"), without(tool), reachContainer, nil, ""},
		{"libvirt, started after Docker", docker28(tool, "") + "\n" + libvirts(tool, "192.168.122.0/24", answersOnly),
			without(tool), reachGuest, []string{toContainer, toGuest}, ""},
		{"isolated by hand", with(tool, "$X -A FORWARD -i virbr0 -j DROP"), without(tool), reachGuest,
			[]string{"IPv4 answers from 192.168.122.0/24 on virbr0 to the tunnel"}, byThemselves},
		{"one guest is closed", with(tool, "$X -A FORWARD -d 192.168.122.9 -j DROP; $X -t raw -A PREROUTING -d 192.168.122.9 -j DROP"),
			without(tool), reachGuest, nil, ""},
		{"another name for the network", with(tool, "$X -A FORWARD -d 192.168.122.0/24 -j DROP; "+
			"$X -t nat -A PREROUTING -i wg0 -d 192.168.122.0/24 -j NETMAP --to 172.17.0.0/24"), without(tool),
			strings.Replace(reachGuest, ".7", ".2", 1), nil, ""},
	}
}

var throughTables = []throughCase{
	{"nothing", "true", "true", reachGuest, nil, ""},
	{"libvirt with nftables", libvirtsTable, "nft delete table ip libvirt_network", reachGuest, []string{toGuest}, byHook},
	{"Docker with nftables", dockersTable("", ""), "nft delete table ip docker-bridges", reachContainer,
		[]string{toContainer}, byMode},
	{"Docker with nftables, published", dockersTable("ip daddr 172.17.0.2 tcp dport 22 counter accept",
		`ip daddr 172.17.0.2 iifname != "docker0" counter drop`), "nft delete table ip docker-bridges", reachPublished,
		[]string{toPublished}, byDaemonJSON},
	{"Docker with nftables, trusted", dockersTable("ip daddr 172.17.0.2 tcp dport 22 counter accept",
		`ip daddr 172.17.0.2 iifname != { "docker0", "wg0" } counter drop`), "nft delete table ip docker-bridges",
		reachPublished, nil, ""},
}

// throughFound are the findings about a firewall: what is dropped, a rule, and how to keep that.
var throughFound = lazyregexp.New(`(?m)^wgkeys: finding: firewall chain \S+ of table .* drops (.*): ((?:nft|ip6?tables)\S* .*?), (and .*)$`)

// TestLabApplyThrough: peers reach networks of virtual machines and of containers through
// shale, which the programs that made those networks keep closed to others. Plan tells how to
// open them, in rules that do.
func TestLabApplyThrough(t *testing.T) {
	if !besideFirewalls(t) {
		return
	}
	u := labtest.NewUsers(t)
	container := ownNetworks(u)
	if err := container.StartSSHD(t.Context()); err != nil {
		t.Fatal(err)
	}
	u.Tunnel("listen_port = 30567\n[hosts.shale]\nssh = \"root@" + demo.ShaleAddr + "\"\nendpoint = \"" + demo.ShaleAddr +
		"\"\naddresses = [\"10.77.0.1/24\", \"fd00:77::1/64\"]\nforward = true\n" +
		"routes = [\"192.168.122.0/24\", \"172.17.0.0/16\", \"10.66.0.0/16\", \"10.88.0.0/13\", \"10.99.0.5/32\", \"fd00:122::/64\"]\n" +
		"[hosts.basalt]\naddresses = [\"10.77.0.2/24\", \"fd00:77::2/64\"]\n")
	u.Clone()
	u.Must(u.Basalt, "wgkeys apply shale && wgkeys apply && ping -n -c 1 -w 10 10.77.0.1")
	cases := append(throughTables, throughCases("iptables-nft")...)
	if u.Run(u.Shale, "iptables-legacy -L && ip6tables-legacy -L").Code == 0 {
		for _, c := range throughCases("iptables-legacy") {
			c.name = "legacy: " + c.name
			cases = append(cases, c)
		}
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { tryThrough(u.With(t), c) })
	}
	routesThrough(u)
}

// routesThrough changes how shale itself reaches what peers reach through it: only what it has
// no route to at all is found.
func routesThrough(u *labtest.Users) {
	const known = "ip route add 192.0.2.0/24 via 93.93.130.1; "
	for _, c := range []struct{ name, set, unset, want string }{
		{"a default route", "true", "true", ""},
		{"no route", known + "ip route del default", "ip route add default via 93.93.130.1",
			"nothing that peers send to 10.66.0.0/16 through this host gets there: it has no route to it: ip -4 route get 10.66.0.1"},
		{"a route to a part", known + "ip route del default; ip route add 10.66.7.0/24 via 192.168.122.7",
			"ip route add default via 93.93.130.1; ip route del 10.66.7.0/24", ""},
		{"no route, and another name", known + "ip route del default; iptables-nft -t nat -A PREROUTING -i wg0 -d 10.66.0.0/16 " +
			"-j NETMAP --to 172.17.0.0/16", "ip route add default via 93.93.130.1; " + without("iptables-nft"), ""},
		{"rp_filter", "sysctl -qw net.ipv4.conf.all.rp_filter=1; ip route add default via 93.93.130.1 table 88; " +
			"ip rule add to 10.77.0.2 lookup 88", "sysctl -qw net.ipv4.conf.all.rp_filter=0; ip rule del to 10.77.0.2 lookup 88; ip route flush table 88",
			"this host drops what comes from 10.77.0.2 through wg0 for 172.17.0.0/16, 192.168.122.0/24, since it sends what is for 10.77.0.2 elsewhere (rp_filter): ip -4 route get 10.77.0.2"},
		{"a rule that asks where it comes in", "ip rule add iif wg0 lookup 77; ip route add 10.66.0.0/16 dev docker0 table 77; " +
			docker28("iptables-nft", ""), "ip rule del iif wg0 lookup 77; " + without("iptables-nft"),
			"drops IPv4 from the tunnel to 10.66.0.0/16 on docker0, IPv4 from the tunnel to 172.17.0.0/16 on docker0: "},
		{"what is not known further on is nowhere", known + "ip route del default; ip route add blackhole 10.66.0.0/16",
			"ip route add default via 93.93.130.1; ip route del blackhole 10.66.0.0/16", ""},
		{"an address of its own, and a network that is a part of a prefix", "ip address add 10.90.0.1/16 dev own0; iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -i wg0 ! -o own0 -j ACCEPT; " +
			"iptables-nft -A FORWARD -o wg0 -j ACCEPT", "ip address del 10.90.0.1/16 dev own0; " + without("iptables-nft"), ""},
	} {
		u.T.Run("routes: "+c.name, func(t *testing.T) {
			u := u.With(t)
			u.Must(u.Shale, c.set)
			defer u.Must(u.Shale, c.unset)
			said := u.Run(u.Shale, "wgkeys plan").Stderr
			const part = "note: firewall chain FORWARD of table ip filter (the policy) drops IPv4 from the tunnel to 10.90.0.0/16 on own0: "
			if strings.Contains(said, part) != strings.Contains(c.set, "own0") {
				t.Errorf("plan says\n%s", said)
			}
			// What this host itself sends is reported as well, where rp_filter looks at its way.
			past := strings.Count(said, "past the tunnel, since another rule or route comes first")
			if past > 0 != (c.name == "rp_filter") {
				t.Errorf("plan says\n%s", said)
			}
			if found := strings.Count(said, "finding:") - past; c.want == "" && found > 0 || c.want != "" && found != 1 ||
				!strings.Contains(said, c.want) {
				t.Errorf("plan says\n%s", said)
			}
		})
	}
}

// ownNetworks gives shale a network as libvirt has it, with a guest, and one as Docker has it,
// with a container.
func ownNetworks(u *labtest.Users) (container *lab.Host) {
	u.Helper()
	guest, container := u.NewHost("guest"), u.NewHost("container")
	for _, n := range []struct {
		host         *lab.Host
		bridge, port string
		ours, theirs []string
		router       string
	}{
		{guest, "virbr0", "vnet0", []string{"192.168.122.1/24", "fd00:122::1/64"},
			[]string{"192.168.122.7/24", "fd00:122::7/64"}, "192.168.122.1"},
		{container, "docker0", "veth0", []string{"172.17.0.1/16"}, []string{"172.17.0.2/16"}, "172.17.0.1"},
	} {
		if err := u.Link(u.Shale, n.port, n.host, "eth0"); err != nil {
			u.Fatal(err)
		}
		u.Must(u.Shale, "ip link add "+n.bridge+" type bridge && ip link set "+n.port+" master "+n.bridge+" && ip link set "+
			n.bridge+" up")
		for i, a := range n.ours {
			u.Must(u.Shale, "ip address add "+a+" dev "+n.bridge+" $(case "+a+" in *:*) echo nodad;; esac)")
			u.Must(n.host, "ip address add "+n.theirs[i]+" dev eth0 $(case "+a+" in *:*) echo nodad;; esac)")
		}
		u.Must(n.host, "ip route add default via "+n.router)
	}
	u.Must(guest, "ip -6 route add default via fd00:122::1")
	u.Must(u.Shale, "ip link add own0 type bridge && ip link set own0 up && ip address add 10.99.0.5/32 dev own0 && "+
		"ip route add prohibit 10.88.0.0/13")
	return container
}

// tries says how many seconds basalt tries: only what is to arrive may be late.
func tries(arrives bool) string {
	if arrives {
		return "S=10; "
	}
	return "S=1; "
}

func tryThrough(u *labtest.Users, c throughCase) {
	defer u.Must(u.Shale, c.unset)
	u.Must(u.Shale, "set -e; "+c.set)
	r := u.Run(u.Shale, "wgkeys plan")
	found := throughFound().FindAllStringSubmatch(r.Stderr, -1)
	if len(found) != len(c.wants) || strings.Count(r.Stderr, "finding:") != len(found) {
		u.Errorf("plan says\n%s", r.Stderr)
	}
	if reaches := u.Run(u.Basalt, tries(c.wants == nil)+c.reach).Code == 0; reaches != (c.wants == nil) {
		u.Errorf("basalt gets there: %v; plan says\n%s", reaches, r.Stderr)
	}
	for i, f := range found {
		if i < len(c.wants) && (f[1] != c.wants[i] || c.then != "" && f[3] != c.then) {
			u.Errorf("it is said to drop %q, want %q; %s", f[1], c.wants[i], f[3])
		}
		u.Must(u.Shale, f[2])
	}
	if c.wants == nil {
		return
	}
	if said := u.Run(u.Shale, "wgkeys plan").Stderr; strings.Contains(said, "finding") {
		u.Errorf("with the rules of\n%splan says\n%s", r.Stderr, said)
	}
	if u.Run(u.Basalt, tries(true)+c.reach).Code != 0 {
		u.Errorf("with the rules of\n%sbasalt gets no further", r.Stderr)
	}
}
