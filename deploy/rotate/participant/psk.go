package participant

import (
	"context"
	"errors"
	"io/fs"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// sharePSK makes the tunnel use, with one peer, the preshared key that is in its file now,
// or only returns the fingerprint of the one in use.
func sharePSK(ctx context.Context, q rotate.Request, a *rotate.Answer) error {
	d, err := openDevice(q.Tunnel, q.KeyFile)
	if err != nil {
		return err
	}
	defer d.close()
	if q.PSK != "" {
		if err := d.takePSK(ctx, q); err != nil {
			return err
		}
	}
	a.PSK, err = d.wg.PSK(q.Old)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not up
	}
	return err
}

func (d *device) takePSK(ctx context.Context, q rotate.Request) error {
	if err := keyring.CheckFile(q.PSKFile); err != nil {
		return fault.WrapFile(err, "no key file can be named", q.PSKFile, "")
	}
	unlock, err := journal.Lock(ctx, linux.RunDir, func(int) {})
	if err != nil {
		return err
	}
	defer unlock()
	if err := UnderWay(q.Tunnel); err != nil {
		return err
	}
	key, err := wg.ReadPresharedKey(q.PSKFile, q.Host)
	if err != nil {
		return err
	}
	if key.Fingerprint() != q.PSK {
		return fault.NewFile("another preshared key is in", q.PSKFile, "its fingerprint is "+key.Fingerprint(),
			"wgkeys push "+q.Host)
	}
	return d.wg.SetPSK(q.Old, key)
}
