package wg

import (
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/keyring"
)

// keepalive is an arbitrary interval: setting one sends a keepalive packet at once
// (set_peer in the kernel's netlink.c, handlePostConfig in wireguard-go's uapi.go).
const keepalive = 25 * time.Second

// NudgeSessions sends an empty packet to each peer that has a session, from which the peer
// learns our endpoint.
func (k *Client) NudgeSessions(link string) error {
	const session = 180 * time.Second // REJECT_AFTER_TIME
	return nudge(k.ctl, link, func(p *wgtypes.Peer) bool { return time.Since(p.LastHandshakeTime) <= session })
}

// NudgePeers sends an empty packet to each of the peers whose endpoint is known. Without a
// session that starts a handshake.
func (k *Client) NudgePeers(link string, peers []keyring.PublicKey) error {
	return nudge(k.ctl, link, among(peers))
}

// NudgePeers is [Client.NudgePeers] for this device.
func (d *Device) NudgePeers(peers []keyring.PublicKey) error {
	return nudge(d.ctl, d.name, among(peers))
}

// among selects those of the peers whose endpoint is known.
func among(peers []keyring.PublicKey) func(*wgtypes.Peer) bool {
	return func(p *wgtypes.Peer) bool {
		return p.Endpoint != nil && slices.Contains(peers, keyring.PublicKey(p.PublicKey))
	}
}

// nudge sets the keepalive interval of peers to off, to on, and to its old value, so that a
// packet is sent even where it was on before. All three are in one message.
func nudge(ctl *wgctrl.Client, link string, wanted func(*wgtypes.Peer) bool) error {
	d, err := ctl.Device(link)
	if err != nil {
		return errNoDevice(err)
	}
	off, on := time.Duration(0), keepalive
	var steps []wgtypes.PeerConfig
	for i := range d.Peers {
		p := &d.Peers[i]
		if !wanted(p) {
			continue
		}
		for _, interval := range []*time.Duration{&off, &on, &p.PersistentKeepaliveInterval} {
			steps = append(steps, wgtypes.PeerConfig{PublicKey: p.PublicKey, UpdateOnly: true,
				PersistentKeepaliveInterval: interval})
		}
	}
	return configure(ctl, link, steps)
}
