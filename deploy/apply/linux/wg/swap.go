package wg

import (
	"cmp"
	"net"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// peer returns a peer with all that the kernel has of it, its preshared key too, or nil.
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

// Stage makes a peer for the next key of old: with its endpoint, without allowed IPs, and
// with a preshared key that nobody has, which is forgotten at once.
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

// Remove takes a peer away, if it is there.
func (d *Device) Remove(peer keyring.PublicKey) error {
	return d.set(wgtypes.PeerConfig{PublicKey: wgtypes.Key(peer), Remove: true, UpdateOnly: true})
}

// SetPrivateKey changes the device's own key. Sessions go on.
func (d *Device) SetPrivateKey(key keyring.PrivateKey) error {
	private := key.Key()
	return d.ctl.ConfigureDevice(d.name, wgtypes.Config{PrivateKey: &private})
}

// UnknownPeer is the error where a peer is not there.
func UnknownPeer(tunnel string, key keyring.PublicKey) error {
	return fault.New("no such peer of tunnel", tunnel, "nothing in the kernel has the public key "+key.String(),
		"wgkeys apply")
}

// Replace gives to the peer `to` what `from` has. Keepalive goes on, which begins the
// handshake, and back to what it was. The allowed IPs come after the peer: a
// device in user space drops what it is to send to a peer that it is still
// making (Peer.isRunning in RoutineReadFromTUN).
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

// mostPrefixes are as many allowed IPs as go into one message: wgctrl sends more of
// them as one message a peer, and leaves out what a peer that is named twice is to have
// (buildBatches).
const mostPrefixes = 256

// replacing is what makes the peer to again (heard is what there is now of it), in place
// of old. It is one message where that has room for all allowed IPs. Where it has not,
// they move after the peer was made and before it begins a handshake; and a peer that
// has some already, for whoever was at it was killed, is gone on with: to make it again
// would forget them.
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

// PSK is the fingerprint of the preshared key with a peer; "": none, or no such peer.
// Where there is no device the error is [fs.ErrNotExist].
func (d *Device) PSK(peer keyring.PublicKey) (fingerprint string, err error) {
	p, err := d.peer(peer)
	if err != nil || p == nil || p.PresharedKey == (wgtypes.Key{}) {
		return "", err
	}
	return keyring.PresharedKeyOf(p.PresharedKey).Fingerprint(), nil
}

// SetPSK changes the preshared key with a peer. The kernel takes it for the next
// handshake, and the session stays (set_peer in its netlink.c).
func (d *Device) SetPSK(peer keyring.PublicKey, key keyring.PresharedKey) error {
	psk := key.Key()
	return d.set(wgtypes.PeerConfig{PublicKey: wgtypes.Key(peer), UpdateOnly: true, PresharedKey: &psk})
}
