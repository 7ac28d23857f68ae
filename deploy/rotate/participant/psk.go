package participant

import (
	"context"
	"errors"
	"io/fs"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// sharePSK has the tunnel use, with one peer, the preshared key that is in its file by
// now, or only tells the fingerprint of the one in use. The kernel takes it for the next
// handshake, and the session stays (set_peer in its netlink.c).
func sharePSK(ctx context.Context, q rotate.Request, a *rotate.Answer) error {
	d, err := openDevice(q.Tunnel, q.KeyFile)
	if err != nil {
		return err
	}
	defer d.Close()
	if q.PSK != "" {
		if err := d.takePSK(ctx, q); err != nil {
			return err
		}
	}
	p, err := d.peer(q.Old)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // not up
	case err != nil || p == nil:
		return err
	case p.PresharedKey != wgtypes.Key{}:
		a.PSK = keyring.PresharedKeyOf(p.PresharedKey).Fingerprint()
	}
	return nil
}

func (d *device) takePSK(ctx context.Context, q rotate.Request) error {
	if err := keyring.CheckFile(q.PSKFile); err != nil {
		return fault.Wrap(err, "no key file can be named", q.PSKFile, "")
	}
	unlock, err := apply.Lock(ctx, linux.RunDir, func(int) {})
	if err != nil {
		return err
	}
	defer unlock()
	if err := UnderWay(q.Tunnel); err != nil {
		return err
	}
	key, err := linux.ReadPresharedKey(q.PSKFile, q.Host)
	if err != nil {
		return err
	}
	if key.Fingerprint() != q.PSK {
		return fault.New("another preshared key is in", q.PSKFile, "its fingerprint is "+key.Fingerprint(), "wgkeys push "+q.Host)
	}
	psk := key.Key()
	return d.set(wgtypes.PeerConfig{PublicKey: wgtypes.Key(q.Old), UpdateOnly: true, PresharedKey: &psk})
}
