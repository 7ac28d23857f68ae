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
// In this example basalt gets another key, and shale is one of its peers. The controller is
// the machine on which somebody runs wgkeys rotate. A process called the watcher runs on
// shale, one called the switch on basalt. Both outlive the controller and its connections.
//
//  1. Basalt gets its next key as a file beside the one it has. The controller claims
//     basalt until the switch begins: of two at once, the second waits.
//  2. Shale gets the next public key as an additional peer, with basalt's present
//     endpoint, no allowed IPs, and a preshared key that nobody knows. The watcher polls
//     that peer's counter of received bytes every millisecond as soon as the kernel
//     notifies it that somebody has begun a handshake with shale. Until then it rests.
//  3. The switch holds the packets to its peers, if it can, and waits until the packets
//     sent before have arrived. Then it sets the next private key and sends a keepalive to
//     every peer, to a few at once if there are many (see opening). Now basalt's packets
//     wait, and those from shale still arrive. The keepalive begins a handshake. Shale
//     counts its bytes, and basalt refuses shale's answer because of the wrong preshared
//     key: so nothing can arrive before shale is ready.
//  4. The watcher sees the counter move, and the counter of the old peer stand still, so
//     everything that basalt sent with the old key has arrived. In one message it replaces
//     the peer by one with the right preshared key, the endpoint from which the handshake
//     came, and the allowed IPs, which leave the old peer at that moment. A new peer has no
//     rate limit: shale begins a handshake at once, and after one round trip the packets
//     of both ends flow.
//  5. The proof is a handshake after the switch that is complete on both ends: the end that
//     began it has received the answer, and the other end the packet after that. When
//     every peer has proved the next key to the switch, the next key file replaces the key
//     file. The watchers remove the old peer.
//  6. If there is no proof within proofTime, the switch sets the old key again and sends
//     keepalives with it. A watcher that sees a handshake with the old key gives the old
//     peer its allowed IPs back.
//
// From step 3 on, the switch and the watchers do not need the controller, which only learns
// the outcome. If it is lost, the next run reads the state from the hosts.
//
// # Limits
//
// The queue that hides the change holds 128 packets for each peer, so it must be able to
// hold what is sent within two round trips and a few milliseconds. In a faster tunnel the
// packets are held before they reach the device, see [Tunnel.Hold]. On a path that reorders
// packets, some that were sent before the handshake may be lost.
//
// This package touches neither the kernel nor a file: it works on the interface [Tunnel],
// which package participant implements.
package rotate

import (
	"time"

	"wgkeys/keyring"
)

// A Tunnel is a tunnel on the host where the package's code runs.
type Tunnel interface {
	// Look reads the state in the kernel.
	Look() (Live, error)

	// Stage adds next as a peer that can begin a handshake but not complete it: with the
	// endpoint of old, a preshared key that nobody knows and no allowed IPs. It replaces a
	// peer with the key next.
	Stage(old, next keyring.PublicKey) error

	// Follow puts a new peer in the place of the one with the key to. It has the preshared key
	// of the pair, the endpoint of the last packet, and the allowed IPs of from and to. That is
	// one message, if it fits. Then Follow begins a handshake. It is idempotent.
	Follow(from, to keyring.PublicKey) error

	// Drop removes a peer. A missing peer is no error.
	Drop(peer keyring.PublicKey) error

	// Switch sets the private key of the public key to, from the host's key file or the next
	// key file beside it.
	Switch(to keyring.PublicKey) error

	// Nudge sends a keepalive to each peer, which begins a handshake if there is no session.
	Nudge(peers []keyring.PublicKey) error

	// Hold keeps the packets that go into the tunnel, at most until the process ends, and
	// Release sends them in their order. Without a Hold before it, Release does nothing.
	Hold() error
	Release() error

	// Promote renames the next key file to the key file, and makes next the host's key in
	// the view for the next boot. If that is done already it does nothing.
	Promote(next keyring.PublicKey) error

	// Rekey replaces the key of a peer in the journal and in the view for the next boot.
	Rekey(old, next keyring.PublicKey) error
}

// Live is the state of a tunnel in a host's kernel.
type Live struct {
	PublicKey keyring.PublicKey          `json:"public_key,omitzero"` // zero: the tunnel is not up
	Peers     map[keyring.PublicKey]Peer `json:"peers,omitempty"`
	Gone      string                     `json:"gone,omitempty"` // why a tunnel that was applied is not up

	ListenPort int `json:"listen_port,omitempty"` // OUTSIDE; 0: not known
}

// A Peer is a peer of a [Live] tunnel.
type Peer struct {
	Handshake  time.Time `json:"handshake,omitzero"` // of the last one, by the host's clock; zero: never
	Received   int64     `json:"received"`           // bytes
	Sent       int64     `json:"sent"`               // bytes
	Endpoint   string    `json:"endpoint,omitempty"` // OUTSIDE; "": not known
	AllowedIPs int       `json:"allowed_ips"`        // how many
}
