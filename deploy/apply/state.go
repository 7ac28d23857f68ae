package apply

import (
	"net/netip"

	"wgkeys/deploy/apply/firewall"
	"wgkeys/keyring"
)

// A State is what the kernel has of one tunnel.
type State struct {
	LinkIndex    int            // the kernel's number of the link, or of the one that was renamed
	Renamed      string         // what somebody renamed our link to; "": nobody did
	Link         *Link          // nil: there is no such interface
	RealName     string         // the link's, where the tunnel's is an altname of it (ip-link(8)); "": it is not
	Device       Device         // of the link
	Peers        []Peer         // of the link
	Addresses    []Address      // on the link, without link-local ones
	Routes       []Route        // through the link, without those the kernel makes itself
	Connected    []netip.Prefix // routes through the link that the kernel made itself, with addresses
	Leased       []netip.Prefix // routes through the link that a DHCP client made
	Elsewhere    []Route        // of other interfaces, within what the tunnel's own addresses and routes cover
	Rules        []Rule         // of the two kinds that a tunnel can need
	TakenTables  []int          // that any rule looks into
	NarrowTables []FamilyTable  // that a rule sends all without a mark to, and that have no wide route
	TakenMarks   []Mark         // that any rule looks for

	Unreachables []Unreachable // of the metric of ours, in any table
	Inner        []string      // interfaces of networks that reach the sources to masquerade by themselves
	Ways         []Way         // what the kernel says of the routes of the view
	Through      []Reached     // what it says of those that peers reach through this host

	Proxies  []Proxy           // proxy neighbours on all interfaces
	Uplinks  []Uplink          // interfaces with a default route
	Learned  []string          // interfaces with an IPv6 address for a time, as from router advertisements
	Sysctls  map[string]string // by path below /proc/sys: "net/ipv6/conf/eth0/accept_ra"
	Files    []FileSetting     // of Sysctls, by the host's own files
	KeyFiles map[string]KeyFile
	Hurdles  Hurdles
	Needs    map[string]string // who has come to need a parameter that is in the journal as it is

	Threads       Threads             // of the kernel, for many peers
	Managers      []string            // of the host's network, that run: [Networkd], [NetworkManager]
	Unmanaged     []Unmanaged         // those that are installed
	Master        string              // the VRF or the like that the link belongs to
	Ports         []string            // interfaces that are ports of a bridge or the like
	Resolver      string              // what takes the link's resolvers: [Resolved], [Resolvconf]; "": nothing
	Record        string              // the link's name there
	HasDNS        bool                // it has something under that name
	ForgotDNS     bool                // it was told of the link, and knows nothing of it any more
	FilterRules   int                 // how many rules the tunnel's nftables table has
	FilterDiffers bool                // the table is there, and is another than the journal says
	Redirects     bool                // where the port is to change: nftables can do a [Redirect]
	Labels        bool                // where policy routing is needed: nftables can label connections
	PortTaken     bool                // somebody else has the port that the device is to have
	Firewall      firewall.Ruleset    // the host's packet filter, where it could keep packets of the view
	Interfaces    []Interface         // where there is a filter
	Endpoints     map[string]Endpoint // by name:port, of those that had to be resolved, see [Peer.Overdue]

	// Paths are those to the peers' addresses, OUTSIDE, and [Anywhere]; nil where
	// none of this host's links and routes is too narrow for [DefaultMTU].
	Paths map[netip.Addr]Path

	// Unrouted are the addresses of peers, OUTSIDE, to which this host has no way. Of
	// many peers not all are looked for.
	Unrouted map[netip.Addr]bool

	// Looped are those that it would send into the tunnel itself.
	Looped map[netip.Addr]bool

	// Circles are those that lead through other tunnels, and by these into the tunnel itself.
	Circles map[netip.Addr]Circle

	// IPsec are the kernel's policies for what this host sends.
	IPsec []IPsecPolicy

	// Translated are those whose packets leave as IPv6, by the link that makes them so.
	Translated map[netip.Addr]string
}

// A FileSetting is what a file of sysctl.d(5) sets a kernel parameter to. If several do, it is the one
// that counts.
type FileSetting struct {
	File  string
	Line  int
	Key   string // its path below /proc/sys
	Value string
}

// A FamilyTable is a routing table of one family.
type FamilyTable struct {
	IPv6  bool
	Table int
}

// A Circle is how packets come back into the tunnel that they are sent by.
type Circle struct {
	Through []string   // the tunnels that they go through
	To      netip.Addr // where the last of these sends them, OUTSIDE
}

// An Uplink is an interface with a default route.
type Uplink struct {
	Name   string
	IPv4   bool           // has an IPv4 default route
	IPv6   bool           // has an IPv6 default route
	OnLink []netip.Prefix // reached without a router
	RA     bool           // the IPv6 one comes from router advertisements
	// the link by which this host sends IPv4 to the internet, where it takes nothing from there
	// by this one (rp_filter); "": it does
	Refuses string
}

// An Interface is one of the host's, but for loopback's.
type Interface struct {
	Name       string
	Index      int
	Kind       string // as ip(8) has it: "veth", "bridge"; "device" for hardware
	IPv4, IPv6 bool   // has an address of the family that is valid beyond its link
}

// A KeyFile is what was found at the path of a private or preshared key.
type KeyFile struct {
	PublicKey   keyring.PublicKey // of a private key
	Fingerprint string            // of a preshared key
	Err         error             // why the file cannot be used
}

// An Endpoint is what a name resolved to.
type Endpoint struct {
	Addr netip.AddrPort   // the one to try first
	More []netip.AddrPort // the others, of either family
	Err  error            // why there is none
}

// All returns the addresses in the order in which to try them.
func (e Endpoint) All() []netip.AddrPort {
	if !e.Addr.IsValid() {
		return nil
	}
	return append([]netip.AddrPort{e.Addr}, e.More...)
}

// A Way is how the kernel would route a packet without a mark to an address of
// Prefix: through Link, or not at all ("").
type Way struct {
	Prefix netip.Prefix
	Addr   netip.Addr
	Link   string
	Local  bool // the address is this host's own
}

// A Reached is a prefix that peers reach through this host, or the part of one for which the
// kernel has a route other than a default route.
type Reached struct {
	Prefix   netip.Prefix
	Addr     netip.Addr // one in it, for which the kernel was asked
	Link     string     // by which it is reached, other than the tunnel's
	Index    int        // of the link
	Part     bool       // the rest is reached otherwise, if at all
	Refused  netip.Addr // a peer whose packets for it are dropped since those to the peer leave elsewhere
	Unrouted bool       // it is not reached: there is no route to it, nor to any part
}

// A Path is how packets leave for an OUTSIDE address.
type Path struct {
	Link string
	MTU  int // of the route, in bytes; 0: there is no route
}

// Hurdles are what a host has in the way of a plan: where a step would fail, the
// plan says so before the first is taken.
type Hurdles struct {
	NoRight   bool              // root may not change the network here
	NoTunnels string            // why no tunnel's interface can be made; "": one can
	NoIPv6    string            // why the link can have no IPv6; "": it can
	PortOwner string            // who has the port that the device is to have; "": it is not known
	PortLeft  bool              // by a tunnel that listens on another and closes it soon
	Fixed     map[string]string // kernel parameters that cannot be set, and why
	Routes    []OtherRoute      // through other interfaces
	Addresses []OtherAddress    // on other interfaces
	Peers     []OtherAddress    // to which the view has a route, and which are this host's own
	Gateways  []OtherGateway    // of default routes that lie INSIDE
	Digest    uint64            // of all such routes, whether the view has to do with them or not
}

// An OtherRoute is one of another interface to a prefix of the view's, or to a part
// of one.
type OtherRoute struct {
	Route
	Link      string // "" where it leads nowhere: blackhole and the like
	Tunnel    bool   // the link is a WireGuard interface
	Origin    Origin
	Throws    bool // it leads nowhere, and the next rule is asked
	Preferred bool // it wins over a route of the same metric, as an advertised one may
}

// An Origin is how a route comes to be there.
type Origin int

const (
	ByHand  Origin = iota // somebody put it there
	Network               // the network that the interface is on, or what that network has told it
)

// An OtherAddress is an address of the view's that another interface has.
type OtherAddress struct {
	Addr netip.Addr
	Link string
	Peer string // it is not the host's own in the view, but leads to that peer
}

// An OtherGateway is one of a default route, OUTSIDE, that the tunnel has a route to: what is
// sent to it, and not by it, goes into the tunnel.
type OtherGateway struct {
	Addr   netip.Addr
	Link   string
	Prefix netip.Prefix // of the view's
}

// NoIPv6AtAll is where no parameter turns it on.
const NoIPv6AtAll = "this kernel runs without IPv6"

// ReadOnlySysctls is why parameters cannot be set in most containers.
const ReadOnlySysctls = "/proc/sys is mounted read-only"
