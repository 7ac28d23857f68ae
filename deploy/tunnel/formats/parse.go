package formats

import (
	"errors"
	"path/filepath"
	"slices"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/wgquick"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// Parse reads files, each in its own format or, if format is not "", all in that one. If a
// device names a file for `wg setconf`, that is read too: from files or, if it is not among
// them, with read, which gets its path. So are files with the public key of a peer.
func Parse(files []foreign.File, format string, read func(path string) ([]byte, error)) ([]*foreign.Device, error) {
	groups := map[*Format][]foreign.File{}
	var order []*Format
	for _, file := range files {
		f, err := of(file)
		if format != "" && plain(file) == nil {
			f, err = Importable(format)
		}
		if err != nil {
			return nil, err
		}
		if groups[f] == nil {
			order = append(order, f)
		}
		groups[f] = append(groups[f], file)
	}
	var devices []*foreign.Device
	var errs []error
	for _, f := range order {
		d, err := f.Parse(groups[f])
		devices, errs = append(devices, d...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := withPublicKeys(devices, read); err != nil {
		return nil, err
	}
	return withConf(devices, read)
}

// withPublicKeys reads the public keys that are in files of their own.
func withPublicKeys(devices []*foreign.Device, read func(string) ([]byte, error)) error {
	var errs []error
	for _, d := range devices {
		for i := range d.Peers {
			p := &d.Peers[i]
			if p.PublicKeyFile == "" {
				continue
			}
			text, err := readNamed(d, p.PublicKeyFile, read)
			if err == nil {
				p.PublicKey, err = keyring.ParsePublicKey(text)
			}
			if err != nil {
				errs = append(errs, fault.WrapLine(err, "no public key of a peer in the file that is named by", p.KeyAt.File,
					p.KeyAt.Line, "copy "+foreign.Unkeyed(p.PublicKeyFile)+" beside it, or write the key itself, as PublicKey="))
			}
		}
	}
	return errors.Join(errs...)
}

// readNamed reads a file that the files of d name: it is beside them, or in its place on
// this host.
func readNamed(d *foreign.Device, path string, read func(string) ([]byte, error)) (text []byte, err error) {
	if text, err = read(filepath.Join(filepath.Dir(d.Pos.File), filepath.Base(path))); err != nil {
		text, err = read(path)
	}
	return text, err
}

// withConf adds, to each device that names a file for `wg setconf`, the content of that
// file.
func withConf(devices []*foreign.Device, read func(string) ([]byte, error)) ([]*foreign.Device, error) {
	var used []*foreign.Device
	for _, d := range devices {
		if d.Conf == "" {
			continue
		}
		var confs []*foreign.Device
		for _, path := range append([]string{d.Conf}, d.AddConf...) {
			conf, err := confOf(d, path, devices, read)
			if err != nil {
				return nil, err
			}
			confs = append(confs, conf)
		}
		take(d, confs)
		used = append(used, confs...)
	}
	return slices.DeleteFunc(devices, func(d *foreign.Device) bool { return slices.Contains(used, d) }), nil
}

// confOf returns the content of a file that d names.
func confOf(d *foreign.Device, name string, devices []*foreign.Device,
	read func(string) ([]byte, error)) (*foreign.Device, error) {
	for _, c := range devices {
		if c != d && filepath.Base(c.Pos.File) == filepath.Base(name) {
			return c, nil
		}
	}
	beside := filepath.Join(filepath.Dir(d.Pos.File), filepath.Base(name))
	for _, path := range []string{beside, name} {
		text, err := read(path)
		if err != nil {
			continue
		}
		list, err := wgquick.Parse([]foreign.File{{Name: path, Text: text}})
		clear(text)
		if err != nil {
			return nil, err
		}
		return list[0], nil
	}
	return nil, fault.NewLine("its keys and peers are in a file that is not here:", d.Pos.File, d.Pos.Line,
		foreign.Unkeyed(name)+" is not beside it", "name both files; sudo where it is readable for root alone")
}

// take adds to d what the files for `wg setconf` and `wg addconf` say, in the order in which
// they are loaded. What commands of d say takes precedence, because they run later. A file of
// wg-quick has more in it that wg(8) never sees, since the command leaves it out: commands,
// addresses, resolvers.
func take(d *foreign.Device, confs []*foreign.Device) {
	commands := d.Peers
	d.Peers = confs[0].Peers
	for _, conf := range confs[1:] {
		for _, p := range conf.Peers {
			addPeer(d, p)
		}
	}
	for _, p := range commands {
		addPeer(d, p)
	}
	for i := range d.Peers { // wg(8) adds no routes
		d.Peers[i].Routed = false
	}
	for _, conf := range confs {
		d.Comment = append(d.Comment, conf.Comment...)
		for _, l := range conf.Left {
			if !l.Hook {
				d.Left = append(d.Left, l)
			}
		}
	}
	for _, conf := range slices.Backward(confs) {
		if d.PrivateKeyFile == "" && d.PrivateKey.IsZero() {
			d.PrivateKey = conf.PrivateKey
		}
		if d.ListenPort == 0 {
			d.ListenPort = conf.ListenPort
		}
		if d.FwMark == 0 {
			d.FwMark = conf.FwMark
		}
	}
}

// addPeer merges what a command says about a peer into the peer of the file, or adds the
// peer.
func addPeer(d *foreign.Device, p foreign.Peer) {
	i := slices.IndexFunc(d.Peers, func(q foreign.Peer) bool { return q.PublicKey == p.PublicKey })
	if i < 0 {
		d.Peers = append(d.Peers, p)
		return
	}
	q := &d.Peers[i]
	if !p.PresharedKey.IsZero() || p.PresharedKeyFile != "" {
		q.PresharedKey, q.PresharedKeyFile = p.PresharedKey, p.PresharedKeyFile
	}
	if p.Endpoint != "" {
		q.Endpoint = p.Endpoint
	}
	if p.Keepalive != 0 {
		q.Keepalive = p.Keepalive
	}
	if len(p.AllowedIPs) > 0 {
		q.AllowedIPs = p.AllowedIPs
	}
}
