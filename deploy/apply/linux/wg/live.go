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

// A Device is the device of one tunnel during a rotation. It is read again and again, its
// keys are changed one at a time, and none are kept. It is not safe for concurrent use.
type Device struct {
	ctl  *wgctrl.Client
	name string
}

// OpenDevice connects to WireGuard for the device of a tunnel, which need not exist yet.
func OpenDevice(name string) (*Device, error) {
	ctl, err := dial()
	if err != nil {
		return nil, err
	}
	return &Device{ctl: ctl, name: name}, nil
}

// Close closes the sockets.
func (d *Device) Close() { d.ctl.Close() }

// A Live is the state of a device at one moment.
type Live struct {
	PublicKey  keyring.PublicKey
	ListenPort int
	Peers      map[keyring.PublicKey]LivePeer
}

// A LivePeer is the state of one peer.
type LivePeer struct {
	Endpoint       string    // OUTSIDE; "": none
	Handshake      time.Time // the time of the last one; zero if there was none
	Received, Sent int64     // bytes, OUTSIDE
	AllowedIPs     int       // their number
}

// Look reads the device. The error is [fs.ErrNotExist] if there is none. It is called every
// millisecond or so, and keeps no keys.
func (d *Device) Look() (Live, error) {
	dev, err := d.device()
	if errors.Is(err, unix.ECONNREFUSED) { // the device was killed
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
		if p.LastHandshakeTime.Unix() > 0 { // a device in user space says 1970 if there was none
			peer.Handshake = p.LastHandshakeTime
		}
		if p.Endpoint != nil {
			peer.Endpoint = p.Endpoint.String()
		}
		live.Peers[keyring.PublicKey(p.PublicKey)] = peer
	}
	return live, nil
}

// device reads the device, with a timeout; see [silence].
func (d *Device) device() (*wgtypes.Device, error) { return readWithin(silence, d.ctl, d.name) }

// readWithin reads a device. One in user space may be stopped, and then never answers.
func readWithin(limit time.Duration, ctl *wgctrl.Client, name string) (*wgtypes.Device, error) {
	type answer struct {
		dev *wgtypes.Device
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		dev, err := ctl.Device(name)
		answers <- answer{dev, err}
	}()
	select {
	case a := <-answers:
		return a.dev, a.err
	case <-time.After(limit):
		return nil, device.ErrStopped
	}
}
