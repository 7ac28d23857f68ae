package participant

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/apply/linux/hold"
	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// A device is a [rotate.Tunnel] in the kernel, or in a device in user space.
type device struct {
	name    string
	keyFile string // of the host's private key
	wg      *wgctrl.Client
	hold    hold.Hold // nil: not asked for, or not possible
}

func openDevice(name, keyFile string) (*device, error) {
	wg, err := wgctrl.New()
	if err != nil {
		return nil, fault.Wrap(err, "cannot talk to", "WireGuard", "")
	}
	return &device{name: name, keyFile: keyFile, wg: wg}, nil
}

func (d *device) Close() {
	d.Release()
	d.wg.Close()
}

func (d *device) Look() (rotate.Live, error) {
	dev, err := d.wg.Device(d.name)
	if errors.Is(err, unix.ECONNREFUSED) { // the socket of a device that was killed
		err = fs.ErrNotExist
	}
	if err != nil {
		return rotate.Live{}, err
	}
	live := rotate.Live{
		PublicKey: keyring.PublicKey(dev.PublicKey),
		Peers:     make(map[keyring.PublicKey]rotate.Peer, len(dev.Peers)),

		ListenPort: dev.ListenPort,
	}
	for i := range dev.Peers {
		p := &dev.Peers[i]
		peer := rotate.Peer{Received: p.ReceiveBytes, Sent: p.TransmitBytes, AllowedIPs: len(p.AllowedIPs)}
		if p.LastHandshakeTime.Unix() > 0 { // a device in user space says 1970 for never
			peer.Handshake = p.LastHandshakeTime
		}
		if p.Endpoint != nil {
			peer.Endpoint = p.Endpoint.String()
		}
		live.Peers[keyring.PublicKey(p.PublicKey)] = peer
	}
	return live, nil
}

// peer returns a peer with all that the kernel has of it, its preshared key too.
func (d *device) peer(key keyring.PublicKey) (*wgtypes.Peer, error) {
	dev, err := d.wg.Device(d.name)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(dev.Peers, func(p wgtypes.Peer) bool { return p.PublicKey == wgtypes.Key(key) })
	if i < 0 {
		return nil, nil
	}
	return &dev.Peers[i], nil
}

func (d *device) set(peers ...wgtypes.PeerConfig) error {
	return d.wg.ConfigureDevice(d.name, wgtypes.Config{Peers: peers})
}

// Stage implements [rotate.Tunnel]. The preshared key is forgotten at once.
func (d *device) Stage(old, next keyring.PublicKey) error {
	was, err := d.peer(old)
	if err != nil {
		return err
	}
	if was == nil {
		return unknownPeer(d.name, old)
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

func unknownPeer(tunnel string, key keyring.PublicKey) error {
	return fault.New("no such peer of tunnel", tunnel, "nothing in the kernel has the public key "+key.String(), "wgkeys apply")
}

// Follow implements [rotate.Tunnel]. Keepalive goes on, which begins the
// handshake, and back to what it was. The allowed IPs come after the peer: a
// device in user space drops what it is to send to a peer that it is still
// making (Peer.isRunning in RoutineReadFromTUN).
func (d *device) Follow(from, to keyring.PublicKey) error {
	old, err := d.peer(from)
	if err != nil {
		return err
	}
	if old == nil {
		return unknownPeer(d.name, from)
	}
	heard, err := d.peer(to)
	if err != nil {
		return err
	}
	for _, message := range follow(wgtypes.Key(to), old, heard) {
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

// follow is what makes the peer to anew, of which heard is what there is now, in place
// of old. It is one message where that has room for all allowed IPs. Where it has not,
// they move after the peer was made and before it begins a handshake; and a peer that
// has some already, for whoever was at it was killed, is gone on with: to make it anew
// would forget them.
func follow(to wgtypes.Key, old, heard *wgtypes.Peer) [][]wgtypes.PeerConfig {
	endpoint, allowed, begun := old.Endpoint, old.AllowedIPs, false
	if heard != nil {
		allowed = slices.Concat(allowed, heard.AllowedIPs)
		endpoint = cmp.Or(heard.Endpoint, endpoint)
		begun = len(heard.AllowedIPs) > 0
	}
	on := nudge
	anew := []wgtypes.PeerConfig{
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
		return [][]wgtypes.PeerConfig{slices.Concat(anew, []wgtypes.PeerConfig{move(allowed)}, begin)}
	}
	var messages [][]wgtypes.PeerConfig
	if !begun {
		messages = append(messages, anew)
	}
	for some := range slices.Chunk(allowed, mostPrefixes) {
		messages = append(messages, []wgtypes.PeerConfig{move(some)})
	}
	return append(messages, begin)
}

// Drop implements [rotate.Tunnel].
func (d *device) Drop(peer keyring.PublicKey) error {
	return d.set(wgtypes.PeerConfig{PublicKey: wgtypes.Key(peer), Remove: true, UpdateOnly: true})
}

// Switch implements [rotate.Tunnel].
func (d *device) Switch(to keyring.PublicKey) error {
	for _, path := range []string{d.keyFile, d.nextFile()} {
		key, err := linux.ReadPrivateKey(path, "")
		if err == nil && key.PublicKey() == to {
			private := key.Key()
			return d.wg.ConfigureDevice(d.name, wgtypes.Config{PrivateKey: &private})
		}
	}
	return fault.New("no private key for public key", to.String(), "neither "+d.keyFile+" nor "+d.nextFile()+" holds it", "wgkeys push")
}

// nudge is any keepalive interval: turning one on sends a keepalive at once
// (set_peer in the kernel's netlink.c).
const nudge = 25 * time.Second

// Nudge implements [rotate.Tunnel]. The interval is off, on, and as it was, all
// in one message.
func (d *device) Nudge(peers []keyring.PublicKey) error {
	dev, err := d.wg.Device(d.name)
	if err != nil {
		return err
	}
	off, on := time.Duration(0), nudge
	for i := range dev.Peers {
		p := &dev.Peers[i]
		if p.Endpoint == nil || !slices.Contains(peers, keyring.PublicKey(p.PublicKey)) {
			continue
		}
		step := func(interval *time.Duration) wgtypes.PeerConfig {
			return wgtypes.PeerConfig{PublicKey: p.PublicKey, UpdateOnly: true, PersistentKeepaliveInterval: interval}
		}
		if err := d.set(step(&off), step(&on), step(&p.PersistentKeepaliveInterval)); err != nil {
			return err
		}
	}
	return nil
}

// Hold implements [rotate.Tunnel].
func (d *device) Hold() error {
	if d.hold == nil {
		return nil
	}
	return d.hold.Begin()
}

// Release implements [rotate.Tunnel].
func (d *device) Release() error {
	if d.hold == nil {
		return nil
	}
	err := d.hold.End()
	d.hold = nil
	return err
}

// Promote implements [rotate.Tunnel]. The old key is gone with the rename: both
// files are in one folder.
func (d *device) Promote(next keyring.PublicKey) error {
	return linux.RekeyOwn(d.name, next, func() error { return d.promoteFile(next) })
}

func (d *device) promoteFile(next keyring.PublicKey) error {
	have, err := linux.ReadPrivateKey(d.keyFile, "")
	if err == nil && have.PublicKey() == next {
		return nil
	}
	key, err := linux.ReadPrivateKey(d.nextFile(), "")
	if err != nil {
		return err
	}
	if key.PublicKey() != next {
		return fault.New("another key than the one in use is in", d.nextFile(), "", "wgkeys push")
	}
	if err := files.KeepReaders(d.keyFile, d.nextFile()); err != nil {
		return fault.Wrap(fault.Errno(err), "cannot give the next key to the group of the key file", d.nextFile(), "")
	}
	if err := files.Rename(filepath.Dir(d.keyFile), d.nextFile(), d.keyFile); err != nil {
		return fault.Wrap(err, "cannot make the next key the key file", d.keyFile, "")
	}
	return nil
}

// nextFile is where the next key waits.
func (d *device) nextFile() string { return NextFile(d.name, d.keyFile) }

// NextFile returns the path of the next key on a host, beside its key file.
func NextFile(tunnel, keyFile string) string {
	return filepath.Join(filepath.Dir(keyFile), tunnel+".next.key")
}

// wake nudges peers and waits until each has shaken hands lately.
func (d *device) wake(peers []keyring.PublicKey, atMost time.Duration) error {
	if err := d.Nudge(peers); err != nil {
		return fmt.Errorf("cannot send a keepalive: %w", err)
	}
	for end := time.Now().Add(atMost); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		live, err := d.Look()
		if err != nil {
			return err
		}
		asleep := func(key keyring.PublicKey) bool { return time.Since(live.Peers[key].Handshake) > lately }
		if !slices.ContainsFunc(peers, asleep) {
			return nil
		}
	}
	return nil
}

// lately is less than the age at which a session is renewed (REKEY_AFTER_TIME).
const lately = 110 * time.Second
