package wg

import (
	"errors"
	"io/fs"
	"time"

	"wgkeys/deploy/apply/linux/device"
	"wgkeys/keyring"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// A Device is the device of one tunnel, as a rotation works on it: it looks again and
// again, changes a key at once, and remembers none. It is for one goroutine at a time.
type Device struct {
	ctl  *wgctrl.Client
	name string
}

// OpenDevice connects to the device of a tunnel, which may come later.
func OpenDevice(name string) (*Device, error) {
	ctl, err := dial()
	if err != nil {
		return nil, err
	}
	return &Device{ctl: ctl, name: name}, nil
}

// Close ends the connections.
func (d *Device) Close() { d.ctl.Close() }

// A Live is a device as it was at one moment.
type Live struct {
	PublicKey  keyring.PublicKey
	ListenPort int
	Peers      map[keyring.PublicKey]LivePeer
}

// A LivePeer is one of its peers.
type LivePeer struct {
	Endpoint       string    // OUTSIDE; "": none
	Handshake      time.Time // the last one; zero: never
	Received, Sent int64     // bytes, OUTSIDE
	AllowedIPs     int       // how many
}

// Look reads a device that is asked again and again, each millisecond: it keeps no keys.
// Where there is none the error is [fs.ErrNotExist].
func (d *Device) Look() (Live, error) {
	dev, err := d.device()
	if errors.Is(err, unix.ECONNREFUSED) { // the socket of a device that was killed
		err = fs.ErrNotExist
	}
	if err != nil {
		return Live{}, err
	}
	live := Live{PublicKey: keyring.PublicKey(dev.PublicKey), ListenPort: dev.ListenPort,
		Peers: make(map[keyring.PublicKey]LivePeer, len(dev.Peers))}
	for i := range dev.Peers {
		p := &dev.Peers[i]
		peer := LivePeer{Received: p.ReceiveBytes, Sent: p.TransmitBytes, AllowedIPs: len(p.AllowedIPs)}
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

// device asks the device, and not for ever: see [silence].
func (d *Device) device() (*wgtypes.Device, error) {
	type answer struct {
		dev *wgtypes.Device
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		dev, err := d.ctl.Device(d.name)
		answers <- answer{dev, err}
	}()
	select {
	case a := <-answers:
		return a.dev, a.err
	case <-time.After(silence):
		return nil, device.ErrStopped
	}
}
