package wg

import (
	"fmt"
	"net"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/keyring"
)

// SetPeers makes changes of peers. It never sets a REPLACE flag, with which the kernel
// would empty the list of allowed IPs before it fills it again.
func (k *Client) SetPeers(changes []apply.PeerChange) error {
	if len(changes) == 0 {
		return nil
	}
	var peers []wgtypes.PeerConfig
	var drop []net.IPNet
	for i := range changes {
		c := &changes[i]
		if speaksAgain(c) {
			peers = append(peers, wgtypes.PeerConfig{PublicKey: wgtypes.Key(c.Old.PublicKey), Remove: true, UpdateOnly: true})
			c = &apply.PeerChange{Link: c.Link, Name: c.Name, New: c.New, Took: c.New.AllowedIPs}
		}
		p, err := k.peerConfig(c)
		if err != nil {
			return err
		}
		peers = append(peers, p)
		if c.Old == nil && len(c.Took) > 0 {
			peers = append(peers, splitOff(&peers[len(peers)-1]))
		}
		if changes[i].New != nil {
			for _, prefix := range changes[i].Lost() {
				drop = append(drop, *nlmsg.IPNet(prefix))
			}
		}
	}
	if err := configure(k.ctl, changes[0].Link, peers); err != nil || drop == nil {
		return err
	}
	moved, err := throwawayPeer(drop)
	if err != nil {
		return err
	}
	return configure(k.ctl, changes[0].Link, moved)
}

// speaksAgain reports whether a peer that never answered gets a new endpoint, or its first.
// Such a peer is removed and added in one message, so that its next handshake initiation
// does not have to wait for REKEY_TIMEOUT, 5 s after the last one
// (wg_packet_send_handshake_initiation in the kernel's send.c; SendHandshakeInitiation in
// wireguard-go counts even one that it had no address for). There is no session to lose.
func speaksAgain(c *apply.PeerChange) bool {
	if c.Old == nil || c.New == nil || !c.Old.LastHandshake.IsZero() || !c.New.Endpoint.IsValid() {
		return false
	}
	return !c.Old.Endpoint.IsValid() || c.Old.Sent > 0 && c.New.Endpoint != c.Old.Endpoint
}

// configure sends as few messages as possible. Beyond these limits wgctrl would send one
// message for each peer (buildBatches).
func configure(ctl *wgctrl.Client, link string, peers []wgtypes.PeerConfig) error {
	const maxPeers, maxPrefixes = 30, 256 // 30 is a multiple of the three steps of a nudge
	for len(peers) > 0 {
		n, prefixes := 1, len(peers[0].AllowedIPs)
		for n < min(len(peers), maxPeers) && prefixes+len(peers[n].AllowedIPs) <= maxPrefixes {
			prefixes += len(peers[n].AllowedIPs)
			n++
		}
		if err := ctl.ConfigureDevice(link, wgtypes.Config{Peers: peers[:n]}); err != nil {
			return errNoDevice(err)
		}
		peers = peers[n:]
	}
	return nil
}

func (k *keys) peerConfig(c *apply.PeerChange) (wgtypes.PeerConfig, error) {
	if c.New == nil {
		return wgtypes.PeerConfig{PublicKey: wgtypes.Key(c.Old.PublicKey), Remove: true, UpdateOnly: true}, nil
	}
	old := c.Old
	if old == nil {
		old = &apply.Peer{}
	}
	p := wgtypes.PeerConfig{PublicKey: wgtypes.Key(c.New.PublicKey)}
	if c.New.PSK != old.PSK {
		key := wgtypes.Key{} // none
		if c.New.PSK != "" {
			psk, ok := k.psks[c.New.PSK]
			if !ok {
				return p, fmt.Errorf("the preshared key with peer %s is not at hand", c.New.PublicKey)
			}
			key = psk.Key()
		}
		p.PresharedKey = &key
	}
	if c.New.Endpoint.IsValid() && c.New.Endpoint != old.Endpoint {
		p.Endpoint = net.UDPAddrFromAddrPort(c.New.Endpoint)
	}
	if c.New.Keepalive != old.Keepalive {
		interval := time.Duration(c.New.Keepalive) * time.Second
		p.PersistentKeepaliveInterval = &interval
	}
	for _, prefix := range c.Gained() {
		p.AllowedIPs = append(p.AllowedIPs, *nlmsg.IPNet(prefix))
	}
	return p, nil
}

// splitOff returns the allowed IPs of a new peer as a second change, to be made after the
// peer. These prefixes carry packets already, and a device in user space drops packets to a
// peer that it has not finished adding (Peer.isRunning in wireguard-go's
// RoutineReadFromTUN).
func splitOff(p *wgtypes.PeerConfig) wgtypes.PeerConfig {
	rest := wgtypes.PeerConfig{PublicKey: p.PublicKey, UpdateOnly: true, AllowedIPs: p.AllowedIPs}
	p.AllowedIPs = nil
	return rest
}

// throwawayPeer removes prefixes from the peers that have them. Kernels before 6.16 can
// only replace the whole list of a peer, and for a moment it is empty. But a prefix moves
// at once to a peer that claims it. So a peer with a random key claims them and is removed.
func throwawayPeer(prefixes []net.IPNet) ([]wgtypes.PeerConfig, error) {
	key, err := keyring.GeneratePrivateKey()
	if err != nil {
		return nil, err
	}
	public := wgtypes.Key(key.PublicKey())
	return []wgtypes.PeerConfig{
		{PublicKey: public, AllowedIPs: prefixes},
		{PublicKey: public, Remove: true},
	}, nil
}
