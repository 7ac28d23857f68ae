package wg

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/keyring"
)

// A question is a request that was sent to a device in user space before its answer is
// needed. The device takes a while to answer, in which other things are read.
type question struct {
	name string
	conn net.Conn // nil: none was sent
}

func (q *question) end() {
	if q.conn != nil {
		q.conn.Close()
	}
	*q = question{}
}

// ask requests the whole state of a device in user space, in the protocol of
// https://www.wireguard.com/xplatform/. It is no error if there is no device.
func (q *question) ask(name string) error {
	q.end()
	c, err := net.Dial("unix", device.Socket(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	*q = question{name, c}
	_, err = io.WriteString(c, "get=1\n\n")
	return err
}

// Ended reports whether the error means that the process of a device in user space ended
// while it was asked.
func Ended(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) ||
		errors.Is(err, io.EOF)
}

// silence is how long a device may send nothing before it counts as stopped. The kernel
// always answers, but a process may be frozen or hang. One with ten thousand peers needs a
// second.
const silence = 10 * time.Second

// A patient reader has a deadline for each read, not for the whole answer.
type patient struct{ net.Conn }

func (p *patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// Errno returns the error number in the answer of a device in user space, which wgctrl
// turns into a text (wguser's configureDevice). It returns other errors unchanged.
func Errno(err error) error {
	var call *os.SyscallError
	if !errors.As(err, &call) {
		return err
	}
	var n int
	if _, other := fmt.Sscanf(call.Err.Error(), "wguser: errno=%d", &n); other != nil {
		return err
	}
	return syscall.Errno(max(n, -n)) // wireguard-go sends negative numbers (ipcErrorf)
}

// readSocket parses the answer. It is made for ten thousand peers: wgctrl allocates five
// values for each line, this none.
func readSocket(c io.Reader, a *answer) error {
	r := bufio.NewReaderSize(c, 64<<10)
	a.state.Peers = make([]apply.Peer, 0, a.expected)
	answer := userDevice{keys: a.keys, s: a.state}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("the answer of the device ends too early: %w", err)
		}
		key, value, ok := bytes.Cut(line[:len(line)-1], []byte("="))
		switch {
		case len(line) == 1:
			return nil
		case !ok: // not shown: it may be a key
			return errors.New("the device wrote a line without a value")
		default:
			err = answer.line(string(key), value)
		}
		if err != nil { // only the name is shown: the value may be a key
			return fmt.Errorf("the device's line %q is not understood: %w", key, err)
		}
	}
}

// A userDevice puts the lines of an answer into a state.
type userDevice struct {
	keys *keys
	s    *apply.State
	peer *apply.Peer // the peer that the lines are about
	secs int64       // seconds of its last handshake
}

func (u *userDevice) line(key string, value []byte) error {
	switch key {
	case "private_key":
		private, err := hexKey(value)
		if err == nil {
			u.s.Device.PublicKey = u.keys.holdPrivate(private)
		}
		return err
	case "listen_port":
		n, err := number(value)
		u.s.Device.ListenPort = int(n)
		return err
	case "fwmark":
		n, err := number(value)
		u.s.Device.FwMark = uint32(n)
		return err
	case "public_key":
		public, err := hexKey(value)
		u.s.Peers = append(u.s.Peers, apply.Peer{PublicKey: keyring.PublicKey(public)})
		u.peer = &u.s.Peers[len(u.s.Peers)-1]
		return err
	case "errno":
		if n, err := number(value); err != nil || n != 0 {
			return errors.Join(err, unix.Errno(n))
		}
		return nil
	}
	if u.peer == nil {
		return nil
	}
	return u.peerLine(key, value)
}

func (u *userDevice) peerLine(key string, value []byte) (err error) {
	var n int64
	switch key {
	case "preshared_key":
		var psk [32]byte
		if psk, err = hexKey(value); err == nil {
			u.peer.PSK = u.keys.holdPSK(psk)
		}
	case "endpoint":
		var e netip.AddrPort
		e, err = netip.ParseAddrPort(string(value))
		u.peer.Endpoint = netip.AddrPortFrom(e.Addr().Unmap(), e.Port())
	case "persistent_keepalive_interval":
		n, err = number(value)
		u.peer.Keepalive = int(n)
	case "last_handshake_time_sec":
		u.secs, err = number(value)
	case "last_handshake_time_nsec":
		if n, err = number(value); u.secs != 0 || n != 0 {
			u.peer.LastHandshake = time.Unix(u.secs, n)
		}
	case "rx_bytes":
		u.peer.Received, err = number(value)
	case "tx_bytes":
		u.peer.Sent, err = number(value)
	case "allowed_ip":
		var p netip.Prefix
		p, err = netip.ParsePrefix(string(value))
		u.peer.AllowedIPs = append(u.peer.AllowedIPs, p)
	}
	return err
}

func hexKey(text []byte) (key [32]byte, err error) {
	if len(text) != hex.EncodedLen(len(key)) {
		return key, keyring.ErrLength
	}
	if _, err := hex.Decode(key[:], text); err != nil {
		return key, keyring.ErrNonCanonical // the error of package hex shows a byte of the key
	}
	return key, nil
}

func number(text []byte) (int64, error) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, errors.New("it is not a number")
	}
	return n, nil
}
