// Package wg reads and configures WireGuard devices, of the kernel and in user space: their
// keys, their peers and the peers' allowed IPs. It does not make or remove links.
package wg

import (
	"errors"
	"os"

	"golang.zx2c4.com/wireguard/wgctrl"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// A Client reads and configures WireGuard devices. It keeps the keys that it has read, so
// that a change of them can be undone. It is not safe for concurrent use.
type Client struct {
	ctl *wgctrl.Client
	keys
	asked    question
	expected int // an estimate, from the view
}

// Open connects to WireGuard. It needs no privileges; changing anything needs
// CAP_NET_ADMIN.
func Open() (*Client, error) {
	ctl, err := dial()
	if err != nil {
		return nil, err
	}
	return &Client{ctl: ctl, keys: keys{
		private: map[keyring.PublicKey]keyring.PrivateKey{},
		psks:    map[string]keyring.PresharedKey{},
	}}, nil
}

func dial() (*wgctrl.Client, error) {
	ctl, err := wgctrl.New()
	if err != nil {
		return nil, fault.Wrap(err, "cannot talk to", "WireGuard", "")
	}
	return ctl, nil
}

// Close closes the sockets.
func (k *Client) Close() {
	k.ctl.Close()
	k.asked.end()
}

// Expect sets about how many peers the device has, for the allocation.
func (k *Client) Expect(peers int) { k.expected = peers }

// Ask makes a device in user space start to answer, unless it has been asked already. The
// kernel is asked when the answer is read.
func (k *Client) Ask(name, kind string) error {
	if kind != "tun" || k.asked.name == name {
		return nil
	}
	return k.asked.ask(name)
}

// Observe reads the device of the link into s. It keeps the keys that the device has, so
// that a change of them can be undone. There is nothing to read from an interface of
// another kind, or from one whose process in user space is gone.
func (k *Client) Observe(name string, s *apply.State) error {
	defer k.asked.end()
	a := &answer{keys: &k.keys, state: s, expected: k.expected}
	switch {
	case k.asked.name == name:
		err := readSocket(&patient{k.asked.conn}, a)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return device.ErrStopped
		}
		return err
	case s.Link.Kind == "wireguard":
		return readDevice(name, a)
	}
	return nil
}
