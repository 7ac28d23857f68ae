// Package intake reads the tunnels of other programs, from files or from the hosts on which they
// run, and drafts tunnel files from them. It writes nothing, and needs no repository.
package intake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel/draft"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// Options say what is read.
type Options struct {
	Names    []string // each a [NAME=]FILE, or for [Running] a [NAME=]HOST
	Format   string   // of the files; "": by what is in them
	Tunnel   string   // the name of the tunnel, and of its interface; "": by what is read
	Host     string   // whose files they are, if OfHost is set; otherwise they are this machine's
	OfHost   bool
	LeaveOut bool // also with files on a host that are invalid, since the kernel has the rest
	Hosts    *remote.Hosts
	Report   ui.Reporter
}

// Files drafts the tunnels in files, or in those of folders.
func Files(o Options) ([]*draft.Draft, error) {
	r := newReader(o)
	devices, err := r.fromFiles()
	if err == nil {
		err = r.names(devices)
	}
	if err == nil && o.Tunnel == "" {
		err = join(devices, o.Names, o.Report)
	}
	if err != nil {
		return nil, err
	}
	return r.drafts(devices)
}

// Running drafts the tunnels that run on hosts or, if none is named, on this machine.
func Running(ctx context.Context, o Options) ([]*draft.Draft, error) {
	r := newReader(o)
	devices, err := r.readLive(ctx)
	if err == nil {
		err = r.names(devices)
	}
	if err != nil {
		return nil, err
	}
	return r.drafts(devices)
}

// thisHost is the name of this machine: Host, or its short name.
func (o Options) thisHost() (string, error) {
	if o.Host != "" {
		return o.Host, nil
	}
	return remote.ShortName()
}

// maxSize is how many bytes are read: as many as a tunnel file may have.
const maxSize = 16 << 20

// A reader reads them, for one import.
type reader struct {
	o     Options
	named map[string]string // the host by file
	size  int
}

func newReader(o Options) *reader { return &reader{o: o, named: map[string]string{}} }

// drafts makes a tunnel from the interfaces of each name.
func (r *reader) drafts(devices []*foreign.Device) (drafts []*draft.Draft, err error) {
	if len(devices) == 0 {
		return nil, fault.New("no tunnel in", strings.Join(r.o.Names, ", "),
			"none of the files has a WireGuard interface", "wgkeys import --help")
	}
	byName := map[string][]*foreign.Device{}
	var names []string
	for _, d := range devices {
		if byName[d.Name] == nil {
			names = append(names, d.Name)
		}
		byName[d.Name] = append(byName[d.Name], d)
	}
	for _, name := range names {
		d, err := draft.Make(byName[name])
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}

// names decides on the names of all hosts and interfaces.
func (r *reader) names(devices []*foreign.Device) error {
	for _, d := range devices {
		if err := r.name(d); err != nil {
			return err
		}
	}
	return nil
}

// name decides on the names of the device's host and interface.
func (r *reader) name(d *foreign.Device) (err error) {
	switch name := r.named[d.Pos.File]; {
	case name != "":
		d.Host = name
	case d.Host != "": // the format names hosts itself
	case r.o.OfHost:
		d.Host = r.o.Host
	default:
		d.Host, err = r.o.thisHost()
	}
	if here, failed := remote.ShortName(); failed == nil && d.Host == here {
		r.ownKeys(d)
	}
	if r.o.Tunnel != "" {
		d.Name = r.o.Tunnel
	}
	return err
}

// ownKeys reads the key files that a device of this machine names; otherwise the keys would
// be missing.
func (r *reader) ownKeys(d *foreign.Device) {
	if text, err := r.keyFile(d.PrivateKeyFile); err == nil && d.PrivateKey.IsZero() {
		if k, err := keyring.ParsePrivateKey(text); err == nil {
			d.PrivateKey = k
		}
		clear(text)
	}
	for n := range d.Peers {
		p := &d.Peers[n]
		if text, err := r.keyFile(p.PresharedKeyFile); err == nil && p.PresharedKey.IsZero() {
			if k, err := keyring.ParsePresharedKey(text); err == nil {
				p.PresharedKey = k
			}
			clear(text)
		}
	}
}

// keyFile reads a file that an imported one names, of keys or for `wg setconf`. A FIFO is
// refused, since it would make us wait for its writer.
func (r *reader) keyFile(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, os.ErrNotExist
	}
	return r.readFile(path)
}

// readFile reads a file; all together are bounded.
func (r *reader) readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var text bytes.Buffer
	if info, err := f.Stat(); err == nil { // of a FIFO it tells nothing, and it may be wrong
		text.Grow(int(min(info.Size(), maxSize)) + bytes.MinRead)
	}
	_, err = text.ReadFrom(io.LimitReader(f, int64(maxSize-r.size)+1))
	if r.size += text.Len(); err == nil && r.size > maxSize {
		err = fmt.Errorf("the files are larger than %d MiB", maxSize>>20)
	}
	return text.Bytes(), err
}
