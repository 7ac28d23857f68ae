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
// # Keys
//
// The guide cmd/wgkeys/doc/tunnel.md has every key and what it means; its tables are
// compared with the keys of this package.
//
// A host's allowed IPs at its peers are its addresses, each as a single address, and its
// routes. What WireGuard accepts from a peer and what the kernel sends to it are two things:
// a route goes into the kernel for each allowed IP, unless the pair's own routes say
// otherwise.
package tunnel
