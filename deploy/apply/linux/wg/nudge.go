package wg

import (
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/keyring"
)

// keepalive is any interval: turning one on sends a keepalive at once (set_peer in the
// kernel's netlink.c, handlePostConfig in wireguard-go's uapi.go).
const keepalive = 25 * time.Second

// NudgeSessions sends each peer that has a session an empty packet, from which it
// learns our port.
func (k *Client) NudgeSessions(link string) error {
	const session = 180 * time.Second // REJECT_AFTER_TIME
	return nudge(k.ctl, link, func(p *wgtypes.Peer) bool { return time.Since(p.LastHandshakeTime) <= session })
}

// NudgePeers sends each of these peers whose endpoint is known an empty packet, which
// begins a handshake where there is no session.
func (k *Client) NudgePeers(link string, peers []keyring.PublicKey) error {
	return nudge(k.ctl, link, among(peers))
}

// NudgePeers does so on this device.
func (d *Device) NudgePeers(peers []keyring.PublicKey) error {
	return nudge(d.ctl, d.name, among(peers))
}

// among has those of the peers nudged whose endpoint is known.
func among(peers []keyring.PublicKey) func(*wgtypes.Peer) bool {
	return func(p *wgtypes.Peer) bool {
		return p.Endpoint != nil && slices.Contains(peers, keyring.PublicKey(p.PublicKey))
	}
}

// nudge turns the interval of peers off, on, and to what it was: so a packet goes out
// also where it was on before. Each peer has all three in one message.
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
