package wg

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// SetDevice sets the private key, the listen port and the mark, where they change. If the
// port or the mark of a running device changes, peers with a session get a packet, from which
// they learn the new endpoint.
func (k *Client) SetDevice(c apply.DeviceChange) error {
	var cfg wgtypes.Config
	if c.Old.PublicKey != c.New.PublicKey {
		key := wgtypes.Key{} // all zero removes the key
		if !c.New.PublicKey.IsZero() {
			private, ok := k.private[c.New.PublicKey]
			if !ok {
				return fmt.Errorf("the private key of %s is not at hand", c.New.PublicKey)
			}
			key = private.Key()
		}
		cfg.PrivateKey = &key
	}
	if c.Old.ListenPort != c.New.ListenPort {
		cfg.ListenPort = &c.New.ListenPort
	}
	if mark := int(c.New.FwMark); c.Old.FwMark != c.New.FwMark {
		cfg.FirewallMark = &mark
	}
	if err := k.ctl.ConfigureDevice(c.Link, cfg); err != nil {
		return errNoDevice(err)
	}
	if c.Old.ListenPort != 0 && (c.Old.ListenPort != c.New.ListenPort || c.Old.FwMark != c.New.FwMark) {
		return k.NudgeSessions(c.Link)
	}
	return nil
}

func errNoDevice(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("the WireGuard interface is gone")
	}
	return nlmsg.Reason(err)
}

// glance is how long the device of another tunnel may take, which is asked only to say more.
const glance = 2 * time.Second

// ListenPort returns the listen port of another tunnel's device, or 0 if there is no device or
// no port.
func (k *Client) ListenPort(name string) int {
	d, err := readWithin(glance, k.ctl, name)
	if err != nil {
		return 0
	}
	return d.ListenPort
}

// RemovePeers removes all peers of a device that is about to go. Errors are ignored.
func (k *Client) RemovePeers(name string) {
	k.ctl.ConfigureDevice(name, wgtypes.Config{ReplacePeers: true})
}
