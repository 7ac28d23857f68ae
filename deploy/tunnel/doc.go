// Package tunnel reads the plain configuration of a tunnel and derives from it
// what each host has to make true: its [View].
//
// The package is pure. It reads files through an [fs.FS] and nothing else: no
// kernel, no network, no secret. A tunnel file never holds a key, so editing
// one needs no decryption and a review of it is a review of plain text.
//
// # Files
//
// A tunnel is one TOML file, tunnels/wg0.toml, and is named after it; so is its
// network interface. Files tunnels/wg0.d/*.toml, where there are any, are
// merged into it in lexical order, table by table and key by key. A key that
// two files set is an error, never a silent override.
//
//	# tunnels/wg0.toml
//	listen_port = 30567                  # for every host of the tunnel
//
//	[hosts.shale]
//	ssh       = "root@shale.example.net"
//	endpoint  = "93.93.130.7"            # OUTSIDE
//	routes    = ["::/0"]                 # INSIDE
//	forward   = true
//
//	[hosts.basalt]
//	addresses = ["2001:db8:7767::2/128"] # INSIDE
//
// # INSIDE and OUTSIDE
//
// An INSIDE address lives inside the tunnel: addresses, routes, allowed_ips and
// gateway are INSIDE. An OUTSIDE address lives on the network that carries the
// tunnel's encrypted packets: only endpoint is OUTSIDE. The two never mix. An
// endpoint within an INSIDE prefix would send the encrypted packets into the
// tunnel they make up, and is refused.
//
// # Keys of the tunnel
//
// These stand at the top of the file and hold for every host that does not set
// them itself.
//
//	listen_port  UDP port, OUTSIDE; 0 is the kernel's choice
//	mtu          bytes, 1280 to 65535; from 576 where the tunnel has no IPv6;
//	             left out: what fits through the routes to all endpoints, at
//	             most 1420
//	keepalive    seconds, 0 to 65535; 0 is off
//	psk          true: every pair has a preshared key
//
// # Keys of a host, under [hosts.NAME]
//
//	managed           false: nobody logs in to the host, a phone or a provider's
//	                  router. Its public key is written into the keyring by hand, or
//	                  gen makes a key for it to be exported; push, apply, rotate and
//	                  status leave it out, and two such hosts are not peers
//	description       a line of text for users
//	tags              words that hosts have in common: @WORD on a command line is
//	                  all hosts with it
//	ssh               where push and apply go; the host's name if left out
//	endpoint          OUTSIDE: address or name, with or without a port; the
//	                  port is the host's listen_port if left out. A list of them
//	                  is tried in its order: where no handshake comes, the next
//	reachable         true: peers reach the host at an address that is not in this
//	                  file and that they know by themselves. A peer that is managed
//	                  needs an endpoint for it all the same
//	addresses         INSIDE: the host's own. "10.0.0.2/24" puts the prefix on
//	                  the interface and allows the single address at its peers;
//	                  a bare address is a /32 or a /128. A point-to-point one has a
//	                  far end, as ip-address(8) has it: "10.0.0.2 peer 10.0.1.1/32";
//	                  the allowed IP is the address itself
//	routes            INSIDE: the prefixes that peers reach through this host
//	forward           true: a router between the tunnel and its uplinks
//	listen_port       as above; left out here and above it is 51820 for a host
//	                  with an endpoint, or with reachable = true, and the kernel's
//	                  choice for others
//	mtu keepalive     as above
//	psk               as above, for every pair of this host
//	gateway           INSIDE: the next hop of this host's routes to the peer
//	                  that has it, for those wider than a single address
//	ndp_proxy         true: answer neighbour solicitations for the peers' IPv6
//	                  addresses on the uplink (RFC 4389); right where a prefix
//	                  is on-link at the provider, wrong where it is routed
//	ipv6              false: only IPv4, for the host and for what its peers send it
//	masquerade        true: what the peers send leaves this host's uplinks under
//	                  its own OUTSIDE address; ["eth0"]: by these alone. "tunnel":
//	                  what comes from the host's own networks goes into the tunnel
//	                  under its INSIDE address; also among names
//	isolate           true: what comes by the tunnel from one peer goes to no other
//	dns               resolvers by address, and the domains to ask them for:
//	                  "~." is every name
//	sysctls           more of net.*, kept and undone with the tunnel
//	fwmark            mark of the encrypted packets, 0 to 4294967295; 0: none
//	table             routing table of this host's routes, 1 to 4294967295; "off":
//	                  no route at all, as Table = off of wg-quick(8)
//	metric            of this host's routes, 0 to 4294967295
//	private_key_file  absolute path on the host; /etc/wireguard/TUNNEL.key if
//	                  left out. Preshared keys are in the same folder, unless
//	                  psk_file says otherwise
//	boot              false: the units of wgkeys install do not bring the tunnel up
//	                  when the host starts; apply does
//	kill_switch       false: when the interface is gone, packets for a default route
//	                  through it leave in the clear
//	peers             names: this host's peers are exactly these
//
// A host's allowed IPs at its peers are its addresses, each as a single
// address, and its routes. A route goes into the kernel for each, unless a pair's
// own routes say otherwise: what WireGuard accepts from a peer and what the kernel
// sends to it are two things.
//
// Every two hosts of which at least one has an endpoint, or is reachable, and at
// least one is managed, are peers. A host's list of peers overrides that for its
// own pairs; two hosts that both have a list must agree. An unmanaged host on a
// list, or with one, may know the endpoint by itself. A host may be alone in its
// tunnel: a server whose peers come later.
//
// # Keys of a pair, under [hosts.NAME.peer.OTHER]
//
// They hold on NAME, for its entry of the peer OTHER.
//
//	allowed_ips  INSIDE: instead of OTHER's addresses and routes
//	routes       INSIDE: what NAME's kernel routes to OTHER, instead of the allowed
//	             IPs; [] is nothing
//	endpoint     OUTSIDE: instead of OTHER's
//	keepalive    instead of NAME's
//	psk          holds for the pair, whichever of the two says it
//	psk_file     absolute path on NAME of the preshared key; beside the private key
//	             if left out
package tunnel
