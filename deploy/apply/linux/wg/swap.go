package wg

import (
	"cmp"
	"net"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// peer returns all that the kernel has of a peer, including its preshared key, or nil.
func (d *Device) peer(key keyring.PublicKey) (*wgtypes.Peer, error) {
	dev, err := d.ctl.Device(d.name)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(dev.Peers, func(p wgtypes.Peer) bool { return p.PublicKey == wgtypes.Key(key) })
	if i < 0 {
		return nil, nil
	}
	return &dev.Peers[i], nil
}

func (d *Device) set(peers ...wgtypes.PeerConfig) error {
	return d.ctl.ConfigureDevice(d.name, wgtypes.Config{Peers: peers})
}

// Stage adds a peer for the next key of peer old. It has the endpoint of old, no allowed
// IPs, and a random preshared key that is not kept, so that no handshake can succeed yet.
func (d *Device) Stage(old, next keyring.PublicKey) error {
	was, err := d.peer(old)
	if err != nil {
		return err
	}
	if was == nil {
		return UnknownPeer(d.name, old)
	}
	nobody, err := wgtypes.GenerateKey()
	if err != nil {
		return err
	}
	key := wgtypes.Key(next)
	return d.set(
		wgtypes.PeerConfig{PublicKey: key, Remove: true},
		wgtypes.PeerConfig{PublicKey: key, PresharedKey: &nobody, Endpoint: was.Endpoint},
	)
}

// Remove removes a peer if it is there.
func (d *Device) Remove(peer keyring.PublicKey) error {
	return d.set(wgtypes.PeerConfig{PublicKey: wgtypes.Key(peer), Remove: true, UpdateOnly: true})
}

// SetPrivateKey changes the device's private key. Sessions continue.
func (d *Device) SetPrivateKey(key keyring.PrivateKey) error {
	private := key.Key()
	return d.ctl.ConfigureDevice(d.name, wgtypes.Config{PrivateKey: &private})
}

// UnknownPeer returns the error for a peer that the tunnel's device does not have.
func UnknownPeer(tunnel string, key keyring.PublicKey) error {
	return fault.New("no such peer of tunnel", tunnel, "nothing in the kernel has the public key "+key.String(),
		"wgkeys apply -t "+tunnel)
}

// Replace gives peer to all that peer from has. It turns keepalive on, which starts the
// handshake, and sets it back. The allowed IPs follow the peer, because a device in user
// space drops packets to a peer that it has not finished adding (Peer.isRunning in
// RoutineReadFromTUN).
func (d *Device) Replace(from, to keyring.PublicKey) error {
	old, err := d.peer(from)
	if err != nil {
		return err
	}
	if old == nil {
		return UnknownPeer(d.name, from)
	}
	heard, err := d.peer(to)
	if err != nil {
		return err
	}
	for _, message := range replacing(wgtypes.Key(to), old, heard) {
		if err := d.set(message...); err != nil {
			return err
		}
	}
	return nil
}

// mostPrefixes is how many allowed IPs fit into one message. With more, wgctrl sends a
// message for each peer, and loses settings of a peer that is named twice (buildBatches).
const mostPrefixes = 256

// replacing returns the messages that make the peer to in place of old; heard is what the
// device has of to already, or nil. If all allowed IPs fit, it is one message. Otherwise
// they move after the peer was made and before it starts a handshake. If the peer has some
// already, because an earlier attempt was killed, it is kept: to make it again would lose
// them.
func replacing(to wgtypes.Key, old, heard *wgtypes.Peer) [][]wgtypes.PeerConfig {
	endpoint, allowed, begun := old.Endpoint, old.AllowedIPs, false
	if heard != nil {
		allowed = slices.Concat(allowed, heard.AllowedIPs)
		endpoint = cmp.Or(heard.Endpoint, endpoint)
		begun = len(heard.AllowedIPs) > 0
	}
	on := keepalive
	fresh := []wgtypes.PeerConfig{
		{PublicKey: to, Remove: true},
		{PublicKey: to, PresharedKey: &old.PresharedKey, Endpoint: endpoint},
	}
	move := func(prefixes []net.IPNet) wgtypes.PeerConfig {
		return wgtypes.PeerConfig{PublicKey: to, UpdateOnly: true, AllowedIPs: prefixes}
	}
	begin := []wgtypes.PeerConfig{
		{PublicKey: to, UpdateOnly: true, PersistentKeepaliveInterval: &on},
		{PublicKey: to, UpdateOnly: true, PersistentKeepaliveInterval: &old.PersistentKeepaliveInterval},
	}
	if len(allowed) <= mostPrefixes {
		return [][]wgtypes.PeerConfig{slices.Concat(fresh, []wgtypes.PeerConfig{move(allowed)}, begin)}
	}
	var messages [][]wgtypes.PeerConfig
	if !begun {
		messages = append(messages, fresh)
	}
	for some := range slices.Chunk(allowed, mostPrefixes) {
		messages = append(messages, []wgtypes.PeerConfig{move(some)})
	}
	return append(messages, begin)
}

// PSK returns the fingerprint of the preshared key with a peer, or "" if there is no key or
// no such peer. The error is [fs.ErrNotExist] if there is no device.
func (d *Device) PSK(peer keyring.PublicKey) (fingerprint string, err error) {
	p, err := d.peer(peer)
	if err != nil || p == nil || p.PresharedKey == (wgtypes.Key{}) {
		return "", err
	}
	return keyring.PresharedKeyOf(p.PresharedKey).Fingerprint(), nil
}

// SetPSK changes the preshared key with a peer. The kernel uses it from the next handshake
// on; the session continues (set_peer in its netlink.c).
func (d *Device) SetPSK(peer keyring.PublicKey, key keyring.PresharedKey) error {
	psk := key.Key()
	return d.set(wgtypes.PeerConfig{PublicKey: wgtypes.Key(peer), UpdateOnly: true, PresharedKey: &psk})
}
