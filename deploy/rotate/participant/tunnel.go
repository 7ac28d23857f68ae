package participant

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"wgkeys/deploy/apply/linux/hold"
	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// A device is a [rotate.Tunnel] in the kernel, or in user space.
type device struct {
	name    string
	keyFile string // of the host's private key
	wg      *wg.Device
	hold    hold.Hold // nil: not asked for, or not possible
}

func openDevice(name, keyFile string) (*device, error) {
	c, err := wg.OpenDevice(name)
	if err != nil {
		return nil, err
	}
	return &device{name: name, keyFile: keyFile, wg: c}, nil
}

func (d *device) close() {
	d.Release()
	d.wg.Close()
}

func (d *device) Look() (rotate.Live, error) {
	dev, err := d.wg.Look()
	if err != nil {
		return rotate.Live{}, err
	}
	live := rotate.Live{
		PublicKey: dev.PublicKey,
		Peers:     make(map[keyring.PublicKey]rotate.Peer, len(dev.Peers)),

		ListenPort: dev.ListenPort,
	}
	for key, p := range dev.Peers {
		live.Peers[key] = rotate.Peer{Received: p.Received, Sent: p.Sent, AllowedIPs: p.AllowedIPs, Handshake: p.Handshake,
			Endpoint: p.Endpoint}
	}
	return live, nil
}

// Stage implements [rotate.Tunnel].
func (d *device) Stage(old, next keyring.PublicKey) error { return d.wg.Stage(old, next) }

// Follow implements [rotate.Tunnel].
func (d *device) Follow(from, to keyring.PublicKey) error { return d.wg.Replace(from, to) }

// Drop implements [rotate.Tunnel].
func (d *device) Drop(peer keyring.PublicKey) error { return d.wg.Remove(peer) }

// Switch implements [rotate.Tunnel].
func (d *device) Switch(to keyring.PublicKey) error {
	for _, path := range []string{d.keyFile, d.nextFile()} {
		key, err := wg.ReadPrivateKey(path, "")
		if err == nil && key.PublicKey() == to {
			return d.wg.SetPrivateKey(key)
		}
	}
	return fault.New("no private key for public key", to.String(), "neither "+d.keyFile+" nor "+d.nextFile()+" holds it",
		"wgkeys push -t "+d.name)
}

// Nudge implements [rotate.Tunnel].
func (d *device) Nudge(peers []keyring.PublicKey) error { return d.wg.NudgePeers(peers) }

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

// promote makes the next key the key file. The rename removes the old key: both files are
// in one folder.
func (d *device) promote(next keyring.PublicKey) error {
	return kept.RekeyOwn(d.name, next, func() error { return d.promoteFile(next) })
}

func (d *device) promoteFile(next keyring.PublicKey) error {
	have, err := wg.ReadPrivateKey(d.keyFile, "")
	if err == nil && have.PublicKey() == next {
		return nil
	}
	key, err := wg.ReadPrivateKey(d.nextFile(), "")
	if err != nil {
		return err
	}
	if key.PublicKey() != next {
		return fault.NewFile("another key than the one in use is in", d.nextFile(), "", "wgkeys push -t "+d.name)
	}
	if err := files.KeepReaders(d.keyFile, d.nextFile()); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot give the next key to the group of the key file", d.nextFile(), "")
	}
	// The file's time is when the key came into use; if it cannot be set, when the key came
	// to the host.
	os.Chtimes(d.nextFile(), time.Time{}, time.Now())
	if err := files.Rename(filepath.Dir(d.keyFile), d.nextFile(), d.keyFile); err != nil {
		return fault.WrapFile(err, "cannot make the next key the key file", d.keyFile, "")
	}
	return nil
}

// nextFile is the path of the next key.
func (d *device) nextFile() string { return rotate.NextFile(d.name, d.keyFile) }

// wake nudges peers and waits until each had a handshake lately.
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

// lately is less than the age at which a session is renewed (REKEY_AFTER_TIME, 120 s).
const lately = 110 * time.Second
