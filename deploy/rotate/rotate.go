// Package rotate replaces the private key of a host, and the preshared keys with its
// peers, while its tunnel carries traffic, and loses no packet.
//
// An interface has one private key and a prefix belongs to one peer, so a key change seems
// to need an outage. It does not, because WireGuard queues packets that it cannot send yet,
// 128 for each peer (MAX_STAGED_PACKETS in the kernel's device.h), behind a handshake; and
// because packets on old sessions stay valid when the key changes.
//
// # The protocol
//
// Basalt gets another key; shale is one of its peers. The controller is
// the machine on which somebody runs wgkeys rotate. A watcher runs on shale, a
// switch on basalt; both outlive the controller and its connections.
//
//  1. Basalt gets its next key as a file beside the one it has. The controller claims
//     basalt until the switch begins: of two at once, the second waits.
//  2. Shale gets the next public key as one more peer, with the endpoint that
//     basalt has now, no allowed IPs, and a preshared key that nobody knows. The
//     watcher looks at that peer's counter of received bytes every millisecond, once it
//     is told of a handshake that somebody begins with shale. Until then it rests.
//  3. The switch holds what is sent to its peers from now on, if it can, and
//     waits until what was sent before has arrived. It sets the next private key and
//     sends a keepalive to every peer, a few at once if there are many, see opening.
//     Basalt's packets wait now, those from shale still come in. The keepalive begins a
//     handshake. Shale counts it, and basalt refuses its answer, since its preshared key
//     is wrong: nothing can arrive before shale is ready.
//  4. The watcher sees the counter move, and that of the old peer stand still:
//     what basalt sent before has arrived. In one message it makes the peer
//     again with the right preshared key, the endpoint that it was just heard
//     from, and the allowed IPs, which leave the old peer at that moment. A
//     new peer has no rate limit: shale begins a handshake at once, and
//     after one round trip the packets of both ends flow.
//  5. A handshake that is complete on both ends, made after the switch, is the
//     proof: the end that began it heard the answer, the other one the packet
//     after that. When every peer has proved itself to the switch, the next key
//     file takes the place of the old one. The watchers remove the old peer.
//  6. If there is no proof within proofTime, the switch sets the old key again and sends
//     keepalives with it. A watcher that sees a handshake with the old key gives it
//     the allowed IPs back.
//
// Switch and watchers need nobody else from the third step on. The controller only
// learns the outcome; if it is lost, the next run reads the state from the hosts.
//
// # Limits
//
// The queue that hides the change holds 128 packets for each peer, so what is
// sent in two round trips and a few milliseconds has to fit into it. Faster
// tunnels have their packets held before the device, see [Tunnel.Hold]. A path
// that reorders packets may lose some that are older than the handshake.
//
// The package is pure over the small interface [Tunnel]; package participant is the
// real one.
package rotate

import (
	"time"

	"wgkeys/keyring"
)

// A Tunnel is a tunnel on the host where the package's code runs.
type Tunnel interface {
	// Look reads the state in the kernel.
	Look() (Live, error)

	// Stage adds next as a peer that can begin a handshake and not finish it:
	// with the endpoint of old, a preshared key that nobody knows and no allowed
	// IPs. It replaces what was there under that key.
	Stage(old, next keyring.PublicKey) error

	// Follow makes the peer to again, with the preshared key of the pair, the
	// endpoint last heard from, and the allowed IPs of both, in one message where
	// they fit into it; it begins a handshake. Done twice it comes to the same.
	Follow(from, to keyring.PublicKey) error

	// Drop removes a peer. One that is not there is no error.
	Drop(peer keyring.PublicKey) error

	// Switch sets the private key of which to is the public one. It is in the
	// host's key file or in the one beside it.
	Switch(to keyring.PublicKey) error

	// Nudge sends a keepalive to each peer, which begins a handshake where there
	// is no session.
	Nudge(peers []keyring.PublicKey) error

	// Hold keeps the packets that go into the tunnel, at most for as long as the
	// process lives, and Release lets them go in their order. Without a Hold
	// before it Release does nothing.
	Hold() error
	Release() error

	// Promote makes the next key file the key file, and next the key of the view
	// for the next boot. If that is done already it does nothing.
	Promote(next keyring.PublicKey) error

	// Rekey makes next the key of a peer in what the host remembers of it.
	Rekey(old, next keyring.PublicKey) error
}

// Live is what a host's kernel has of a tunnel.
type Live struct {
	PublicKey keyring.PublicKey          `json:"public_key,omitzero"` // zero: the tunnel is not up
	Peers     map[keyring.PublicKey]Peer `json:"peers,omitempty"`
	Gone      string                     `json:"gone,omitempty"` // why it is not up any more, though it was

	ListenPort int `json:"listen_port,omitempty"` // OUTSIDE; 0: not told
}

// A Peer is a peer of a [Live] tunnel.
type Peer struct {
	Handshake  time.Time `json:"handshake,omitzero"` // of the last one, by the host's clock; zero: never
	Received   int64     `json:"received"`           // bytes
	Sent       int64     `json:"sent"`               // bytes
	Endpoint   string    `json:"endpoint,omitempty"` // OUTSIDE; "": not known
	AllowedIPs int       `json:"allowed_ips"`        // how many
}
