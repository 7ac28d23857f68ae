// Package wg reads and configures WireGuard, the kernel's and that of devices in user
// space: its keys, its peers and what they are allowed. The links that it works on are
// others' business.
package wg

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// A Client reads and configures WireGuard, the kernel's and that of devices in user
// space. It keeps the keys that it has read, so that a change of them can be undone.
// It is for one goroutine.
type Client struct {
	ctl     *wgctrl.Client
	asked   question
	private map[keyring.PublicKey]keyring.PrivateKey
	psks    map[string]keyring.PresharedKey // by fingerprint
	held    map[string]string               // fingerprints by key file; see Hold

	expected int // about so many peers, as in the view
}

// Open connects to WireGuard. It needs no rights; changing anything does.
func Open() (*Client, error) {
	ctl, err := wgctrl.New()
	if err != nil {
		return nil, fault.Wrap(err, "cannot talk to", "WireGuard", "")
	}
	return &Client{ctl: ctl, private: map[keyring.PublicKey]keyring.PrivateKey{}, psks: map[string]keyring.PresharedKey{}}, nil
}

// Close ends the connections.
func (k *Client) Close() {
	k.ctl.Close()
	k.asked.end()
}

// Expect says how many peers a device has, about, so that there is room for them.
func (k *Client) Expect(peers int) { k.expected = peers }

// ForgetKeys forgets the keys that were read.
func (k *Client) ForgetKeys() {
	clear(k.private)
	clear(k.psks)
}

// Hold has plans go back to these preshared keys, by key file, also where a file
// holds another one by then, or is gone.
func (k *Client) Hold(fingerprints map[string]string) { k.held = fingerprints }

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
	switch {
	case k.asked.name == name:
		return k.readSocket(k.asked.conn, s)
	case s.Link.Kind == "wireguard":
		return k.readDevice(name, s)
	}
	return nil
}

// holdPrivate keeps a private key of the device and returns its public key.
func (k *Client) holdPrivate(private wgtypes.Key) keyring.PublicKey {
	key := keyring.PrivateKeyOf(private)
	public := key.PublicKey()
	k.private[public] = key
	return public
}

// holdPSK keeps a preshared key of a peer and returns its fingerprint.
func (k *Client) holdPSK(key wgtypes.Key) string {
	if key == (wgtypes.Key{}) {
		return ""
	}
	psk := keyring.PresharedKeyOf(key)
	fingerprint := psk.Fingerprint()
	k.psks[fingerprint] = psk
	return fingerprint
}

// zone is the name of a link in the endpoint of a peer.
func zone(index int) string {
	if i, err := net.InterfaceByIndex(index); err == nil {
		return i.Name
	}
	return strconv.Itoa(index)
}

// ReadKeyFiles reads the preshared keys, and the private key where the kernel
// has not got it yet: a config change opens no private key file.
func (k *Client) ReadKeyFiles(view *tunnel.View, s *apply.State) {
	s.KeyFiles = map[string]apply.KeyFile{}
	if old, ok := k.private[view.PublicKey]; ok && s.Device.PublicKey != view.PublicKey {
		// It was the kernel's before, and is to be so again.
		s.KeyFiles[view.PrivateKeyFile] = apply.KeyFile{PublicKey: old.PublicKey()}
	} else if !ok {
		key, err := readKey(view.PrivateKeyFile, view.Host, keyring.ParsePrivateKey)
		file := apply.KeyFile{Err: err}
		if err == nil {
			file.PublicKey = key.PublicKey()
			k.private[file.PublicKey] = key
		}
		s.KeyFiles[view.PrivateKeyFile] = file
	}
	for i := range view.Peers {
		path := view.Peers[i].PresharedKeyFile
		if path == "" {
			continue
		}
		if held, ok := k.held[path]; ok {
			s.KeyFiles[path] = apply.KeyFile{Fingerprint: held}
			continue
		}
		key, err := readKey(path, view.Host, keyring.ParsePresharedKey)
		file := apply.KeyFile{Err: err}
		if err == nil {
			file.Fingerprint = key.Fingerprint()
			k.psks[file.Fingerprint] = key
		}
		s.KeyFiles[path] = file
	}
}

// readKey reads a key file that only its owner can read, and a group that somebody
// gave it to.
func readKey[K any](path, host string, parse func([]byte) (K, error)) (key K, err error) {
	push := "wgkeys push " + host
	// Opening a FIFO would wait for somebody to write to it (fifo(7)).
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return key, fault.Wrap(fault.Errno(err), "cannot read key file", path, hintFor(err, push))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return key, fault.Wrap(fault.Errno(err), "cannot read key file", path, push)
	case info.IsDir():
		return key, fault.New("cannot read key file", path, "it is a directory", "rmdir "+path+", then "+push)
	case !info.Mode().IsRegular():
		return key, fault.New("cannot read key file", path, "it is no regular file", "rm "+path+", then "+push)
	case !ownedByUs(info):
		return key, fault.New("will not use key file", path, "it belongs to another user of this host, who can read and change it", push)
	case info.Mode().Perm()&0o077 != 0 && !chosenReaders(info):
		return key, fault.New("will not use key file", path,
			"others on this host can read or change it (mode "+info.Mode().Perm().String()+")",
			push+" mends its mode; if strangers have accounts here, replace the key")
	case info.Size() == 0:
		return key, fault.New("no key in key file", path, "it is empty", push)
	}
	text, err := io.ReadAll(io.LimitReader(f, 256))
	defer clear(text)
	if err != nil {
		return key, fault.Wrap(fault.Errno(err), "cannot read key file", path, push)
	}
	if key, err = parse(text); err != nil {
		return key, fault.Wrap(err, "no valid key in key file", path, push)
	}
	return key, nil
}

func chosenReaders(info fs.FileInfo) bool {
	_, chosen := files.Readers(info)
	return chosen
}

// ownedByUs reports whether a file is root's, or of the user that runs this.
func ownedByUs(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && (s.Uid == 0 || int(s.Uid) == os.Geteuid())
}

func hintFor(err error, push string) string {
	if errors.Is(err, fs.ErrPermission) {
		return fault.AsRoot
	}
	return push
}
