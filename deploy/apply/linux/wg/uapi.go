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

// A question is put to a device in user space before its answer is needed: it
// takes the device a while, and there is something else to do meanwhile.
type question struct {
	name string
	conn net.Conn // nil: none has been put
}

func (q *question) end() {
	if q.conn != nil {
		q.conn.Close()
	}
	*q = question{}
}

// ask asks a device in user space for all that it has, in the protocol of
// https://www.wireguard.com/xplatform/. Where there is no device it is no error.
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

// Ended reports whether an error is that of a device in user space whose process ended
// while it was asked.
func Ended(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) ||
		errors.Is(err, io.EOF)
}

// silence is how long a device may say nothing before it counts as stopped: the kernel's
// never is, but a process may be frozen, or hang. One of ten thousand peers takes a second.
const silence = 10 * time.Second

// A patient reader waits for each piece of an answer, and not for ever.
type patient struct{ net.Conn }

func (p *patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// Errno gives an error that a device in user space answered its number back, which
// wgctrl makes a text of (wguser's configureDevice).
func Errno(err error) error {
	var call *os.SyscallError
	if !errors.As(err, &call) {
		return err
	}
	var n int
	if _, other := fmt.Sscanf(call.Err.Error(), "wguser: errno=%d", &n); other != nil {
		return err
	}
	return syscall.Errno(max(n, -n)) // wireguard-go's are negative (ipcErrorf)
}

// readSocket reads the answer. It is for ten thousand peers: wgctrl makes five
// values of a line where this makes none.
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
		case !ok: // what it is may be a key
			return errors.New("the device says a line without a value")
		default:
			err = answer.line(string(key), value)
		}
		if err != nil { // the line may hold a key
			return fmt.Errorf("the device says something else than expected in its line %q: %w", key, err)
		}
	}
}

// A userDevice puts the lines of an answer into a state.
type userDevice struct {
	keys *keys
	s    *apply.State
	peer *apply.Peer // whose lines they are
	secs int64       // of its last handshake
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
		return key, keyring.ErrNonCanonical // hex's own error shows a byte
	}
	return key, nil
}

func number(text []byte) (int64, error) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, errors.New("it is no number")
	}
	return n, nil
}
