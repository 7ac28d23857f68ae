package tunnel

import (
	"net/netip"
	"reflect"
	"strings"

	"wgkeys/keyring"
)

// A View is the plain configuration of one tunnel for one host: what apply sets up on that
// host. It contains no secret, only the paths of the files that do.
//
// "INSIDE" and "OUTSIDE" say where an address is: inside the tunnel, or on the network that
// carries its encrypted packets.
type View struct {
	Tunnel    string            `json:"tunnel"`     // the interface's name
	Host      string            `json:"host"`       // the host's short name
	PublicKey keyring.PublicKey `json:"public_key"` // the host's own
	// its next key in the middle of a rotation; zero: none
	NextPublicKey  keyring.PublicKey `json:"next_public_key,omitzero"`
	PrivateKeyFile string            `json:"private_key_file"`      // absolute, on the host
	ListenPort     int               `json:"listen_port,omitempty"` // OUTSIDE, UDP; 0: the kernel's choice
	// bytes; 0: what fits through the routes to the endpoints
	MTU       int            `json:"mtu,omitempty"`
	FwMark    uint32         `json:"fwmark,omitempty"`    // mark of the encrypted packets; 0: none
	Table     int            `json:"table,omitempty"`     // routing table of Routes; 0: main
	Addresses []netip.Prefix `json:"addresses,omitempty"` // INSIDE, sorted
	// INSIDE: of point-to-point addresses the far end (ip-address(8), "peer"), with its
	// length; they are single ones among Addresses
	Remotes map[netip.Addr]netip.Prefix `json:"remotes,omitempty"`
	Peers   []Peer                      `json:"peers,omitempty"`  // sorted by name
	Routes  []Route                     `json:"routes,omitempty"` // INSIDE, sorted, each prefix once
	// without the interface, what Routes are for may leave in the clear
	NoKillSwitch bool `json:"no_kill_switch,omitempty"`
	Forward      bool `json:"forward,omitempty"`      // a router between the tunnel and its uplinks
	ForwardIPv4  bool `json:"forward_ipv4,omitempty"` // the tunnel carries IPv4
	ForwardIPv6  bool `json:"forward_ipv6,omitempty"` // the tunnel carries IPv6
	Diagnosis
	// INSIDE addresses answered for on the uplink (ndp_proxy)
	Proxies []netip.Addr `json:"proxies,omitempty"`
	// INSIDE sources that leave under the host's own OUTSIDE address
	Masquerade []netip.Prefix `json:"masquerade,omitempty"`
	// the uplinks by which they do, sorted; none: all
	MasqueradeBy []string `json:"masquerade_by,omitempty"`
	// what is not from the host's INSIDE addresses, nor a peer's, goes into the tunnel
	// under one of them
	MasqueradeTunnel bool `json:"masquerade_tunnel,omitempty"`
	Isolate          bool `json:"isolate,omitempty"` // what comes from one peer goes to no other
	// the host's own start does not bring the tunnel up; apply by hand does
	NoBoot bool `json:"no_boot,omitempty"`
	// addresses of resolvers, and domains to ask them for
	DNS []string `json:"dns,omitempty"`
	// as sysctl(8) spells the key: net.ipv4.conf.wg0.rp_filter
	Sysctls map[string]string `json:"sysctls,omitempty"`

	About `json:"-"`
}

// Diagnosis is what a host needs only to find out what is wrong there: without it, apply does
// the same. A host whose wgkeys is too old for a key of it does without all of it.
type Diagnosis struct {
	// INSIDE: what peers reach through this router, sorted, without default routes. Whether
	// it lets them is found out there
	Through []netip.Prefix `json:"through,omitempty"`
}

// WithoutDiagnosis returns a copy of v for a host that does not know all keys of its [Diagnosis].
func (v *View) WithoutDiagnosis() *View {
	less := *v
	less.Diagnosis = Diagnosis{}
	return &less
}

// OnlyDiagnosis reports whether a key of a view's JSON is one of its [Diagnosis].
func OnlyDiagnosis(key string) bool {
	for field := range reflect.TypeFor[Diagnosis]().Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name == key && key != "" {
			return true
		}
	}
	return false
}

// About is what the tunnel file says about a host for users. Nothing on a host depends on
// it, so it is not sent: a view that was received has none.
type About struct {
	Description string // a line; "": none
	Unmanaged   bool   // nobody logs in to the host
}

// A Peer is another host as the view's host reaches it.
type Peer struct {
	Name      string            `json:"name"`
	PublicKey keyring.PublicKey `json:"public_key"`
	// its next key in the middle of a rotation; zero: none
	NextPublicKey    keyring.PublicKey `json:"next_public_key,omitzero"`
	PresharedKeyFile string            `json:"preshared_key_file,omitempty"` // absolute, on the host; "": none
	// OUTSIDE, address:port or name:port; "": the peer comes to us. Several are
	// separated by commas: the next one is tried where no handshake comes
	Endpoint   string         `json:"endpoint,omitempty"`
	Keepalive  int            `json:"keepalive,omitempty"` // seconds; 0: off
	AllowedIPs []netip.Prefix `json:"allowed_ips"`         // INSIDE, sorted

	About `json:"-"`
}

// A Route sends an INSIDE prefix into the tunnel.
type Route struct {
	Prefix  netip.Prefix `json:"prefix"`
	Gateway netip.Addr   `json:"gateway,omitzero"` // INSIDE; the zero Addr: none
	Metric  int          `json:"metric,omitempty"` // 0: the kernel's default
	Peer    string       `json:"peer"`             // whom it leads to
}

// Endpoints returns the endpoints of p, in the order in which they are tried; none if it
// comes to us.
func (p *Peer) Endpoints() []string {
	if p.Endpoint == "" {
		return nil
	}
	return strings.Split(p.Endpoint, ",")
}

// SplitDNS separates the addresses of resolvers in [View.DNS] from the domains.
func SplitDNS(dns []string) (servers, domains []string) {
	for _, d := range dns {
		if _, err := netip.ParseAddr(d); err == nil {
			servers = append(servers, d)
		} else {
			domains = append(domains, d)
		}
	}
	return servers, domains
}
