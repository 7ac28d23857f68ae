package linux

import (
	"context"
	"fmt"
	"net"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nft"
	"wgkeys/keyring"
)

// setPeers makes changes of peers. REPLACE flags are never set: the kernel would
// empty the list before it fills it.
func (k *Kernel) setPeers(changes []apply.PeerChange) error {
	if len(changes) == 0 {
		return nil
	}
	var peers []wgtypes.PeerConfig
	var drop []net.IPNet
	for i := range changes {
		c := &changes[i]
		if speaksAnew(c) {
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
				drop = append(drop, *netOf(prefix))
			}
		}
	}
	if err := k.configure(changes[0].Link, peers); err != nil || drop == nil {
		return err
	}
	thief, err := thief(drop)
	if err != nil {
		return err
	}
	return k.configure(changes[0].Link, thief)
}

// speaksAnew reports whether a peer that never answered is to be reached elsewhere.
// It is made anew then, in the same message: where the last initiation was sent less
// than REKEY_TIMEOUT ago, 5 s, the next one would wait
// (wg_packet_send_handshake_initiation in the kernel's send.c, SendHandshakeInitiation
// in wireguard-go's). There is no session that could be lost.
func speaksAnew(c *apply.PeerChange) bool {
	return c.Old != nil && c.New != nil && c.Old.LastHandshake.IsZero() && c.Old.Sent > 0 &&
		c.Old.Endpoint.IsValid() && c.New.Endpoint.IsValid() && c.New.Endpoint != c.Old.Endpoint
}

// configure sends as few messages as it takes. One with more peers or prefixes
// than this wgctrl would send as one message a peer (buildBatches).
func (k *Kernel) configure(link string, peers []wgtypes.PeerConfig) error {
	const maxPeers, maxPrefixes = 32, 256
	for len(peers) > 0 {
		n, prefixes := 1, len(peers[0].AllowedIPs)
		for n < min(len(peers), maxPeers) && prefixes+len(peers[n].AllowedIPs) <= maxPrefixes {
			prefixes += len(peers[n].AllowedIPs)
			n++
		}
		if err := k.wg.ConfigureDevice(link, wgtypes.Config{Peers: peers[:n]}); err != nil {
			return gone(err)
		}
		peers = peers[n:]
	}
	return nil
}

// setPeersTold does so, and finds out which change failed of those that went in one
// message: one by one they are made again, as they may be.
func (k *Kernel) setPeersTold(changes []apply.PeerChange) error {
	err := k.setPeers(changes)
	if err == nil {
		return nil
	}
	for _, c := range changes {
		if alone := k.setPeers([]apply.PeerChange{c}); alone != nil {
			return &apply.ChangeError{Change: c, Err: told(alone)}
		}
	}
	return told(err) // it was the moment, and not one of them
}

func (k *Kernel) peerConfig(c *apply.PeerChange) (wgtypes.PeerConfig, error) {
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
		p.AllowedIPs = append(p.AllowedIPs, *netOf(prefix))
	}
	return p, nil
}

// splitOff returns the allowed IPs of a new peer as a change of their own, which
// comes after it: a device in user space drops what it is to send to a peer that
// it is still making (Peer.isRunning in wireguard-go's RoutineReadFromTUN), and
// these prefixes carry packets already.
func splitOff(p *wgtypes.PeerConfig) wgtypes.PeerConfig {
	rest := wgtypes.PeerConfig{PublicKey: p.PublicKey, UpdateOnly: true, AllowedIPs: p.AllowedIPs}
	p.AllowedIPs = nil
	return rest
}

// thief takes prefixes away from the peers that have them. Kernels before 6.16
// can only replace the whole list of a peer, with a moment in which it is
// empty; but a prefix that another peer claims moves at once. So a peer of a
// key that nobody has claims them, and goes.
func thief(prefixes []net.IPNet) ([]wgtypes.PeerConfig, error) {
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

// follow waits until nothing has come to the old port for a while, and has all
// peers hear from the new one meanwhile.
func (k *Kernel) follow(ctx context.Context, link string) error {
	const round, rounds, still = 100 * time.Millisecond, 50, 3
	last, quiet := uint64(0), 0
	for range rounds {
		if err := k.nudge(link); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(round):
		}
		n, err := nft.Redirected(link)
		if err != nil {
			return err
		}
		if quiet++; n != last {
			last, quiet = n, 0
		}
		if quiet == still {
			return nil
		}
	}
	return nil // they follow with the first packet that the host sends them
}

// nudge sends each peer that has a session an empty packet, from which it learns
// our port. Turning keepalive on does (set_peer in the kernel's netlink.c,
// handlePostConfig in wireguard-go's uapi.go), also where it was on before.
func (k *Kernel) nudge(link string) error {
	d, err := k.wg.Device(link)
	if err != nil {
		return gone(err)
	}
	const session = 180 * time.Second // REJECT_AFTER_TIME
	var other, as []wgtypes.PeerConfig
	for i := range d.Peers {
		p := &d.Peers[i]
		if time.Since(p.LastHandshakeTime) > session {
			continue
		}
		wanted, opposite := p.PersistentKeepaliveInterval, time.Duration(0)
		if wanted == 0 {
			opposite = 25 * time.Second
		}
		other = append(other, wgtypes.PeerConfig{PublicKey: p.PublicKey, UpdateOnly: true, PersistentKeepaliveInterval: &opposite})
		as = append(as, wgtypes.PeerConfig{PublicKey: p.PublicKey, UpdateOnly: true, PersistentKeepaliveInterval: &wanted})
	}
	if err := k.configure(link, other); err != nil {
		return err
	}
	return k.configure(link, as)
}
