// Package wg reads and configures WireGuard, the kernel's and that of devices in user
// space: its keys, its peers and what they are allowed. The links that it works on are
// others' business.
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

// A Client reads and configures WireGuard, the kernel's and that of devices in user
// space. It keeps the keys that it has read, so that a change of them can be undone.
// It is for one goroutine.
type Client struct {
	ctl *wgctrl.Client
	keys
	asked    question
	expected int // about so many peers, as in the view
}

// Open connects to WireGuard. It needs no rights; changing anything does.
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

// Close ends the connections.
func (k *Client) Close() {
	k.ctl.Close()
	k.asked.end()
}

// Expect says how many peers a device has, about, so that there is room for them.
func (k *Client) Expect(peers int) { k.expected = peers }

// Ask has a device in user space begin to answer, unless it has been asked
// already. The kernel's own is asked when its answer is read.
func (k *Client) Ask(name, kind string) error {
	if kind != "tun" || k.asked.name == name {
		return nil
	}
	return k.asked.ask(name)
}

// Observe reads the WireGuard half of the link. The keys that it holds
// now are kept, so that a change of them can be undone. An interface of another
// kind, or one whose user space is gone, has none.
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
