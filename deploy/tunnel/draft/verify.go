package draft

import (
	"bytes"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/fault"
)

// verify reads the tunnel file back and compares what each host would be with what its
// files say: the last word on what a tunnel file can say.
func (m *maker) verify(w *writer) error {
	t, err := tunnel.Parse(folder{m.Tunnel + ".toml", m.Text}, m.Tunnel)
	if err != nil {
		return w.source(err)
	}
	view := t.Views(m.known())
	for _, h := range m.list {
		if h.d == nil {
			continue
		}
		v, err := view(h.name)
		if err != nil {
			return err
		}
		m.compare(h, v)
	}
	return nil
}

// A folder has one file.
type folder struct {
	name string
	text []byte
}

// Open implements [fs.FS].
func (f folder) Open(name string) (fs.File, error) {
	if name != f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{f, bytes.NewReader(f.text)}, nil
}

// A file is the one of a folder, and tells of itself.
type file struct {
	folder
	*bytes.Reader
}

func (f *file) Close() error               { return nil }
func (f *file) Stat() (fs.FileInfo, error) { return f, nil }
func (f *file) Name() string               { return f.name }
func (f *file) Size() int64                { return int64(len(f.text)) }
func (f *file) Mode() fs.FileMode          { return 0o444 }
func (f *file) ModTime() time.Time         { return time.Time{} }
func (f *file) IsDir() bool                { return false }
func (f *file) Sys() any                   { return nil }

// source tells of an error in the tunnel file where in the files it comes from.
func (w *writer) source(err error) error {
	fault.Each(err, func(f *fault.Fault) {
		if f.Line > 0 && f.Line <= len(w.from) && strings.HasPrefix(f.File, tunnel.Dir) {
			at := w.from[f.Line-1]
			f.File, f.Line = at.File, at.Line
		}
	})
	return fault.Wrap(err, "cannot say in a tunnel file what the files say of", w.m.Tunnel, "")
}

// compare lists where the view of h is not what its files say.
func (m *maker) compare(h *host, v *tunnel.View) {
	at := h.d.Pos
	differs := func(what string, has, wants any) {
		if has != wants {
			m.leave(at, what, "it cannot be said as it is")
		}
	}
	differs("ListenPort", v.ListenPort, h.d.ListenPort)
	differs("MTU", v.MTU, h.d.MTU)
	differs("FwMark", v.FwMark, h.d.FwMark)
	differs("Address", own(v), locals(h.d.Addresses))
	byName := map[string]*tunnel.Peer{}
	for i := range v.Peers {
		byName[v.Peers[i].Name] = &v.Peers[i]
	}
	for _, e := range h.entries {
		at = e.p.Pos
		p := byName[e.peer.name]
		if p == nil {
			m.leave(at, "[Peer] "+e.peer.name, "the two are no peers by the file of the other")
			continue
		}
		delete(byName, e.peer.name)
		if !slices.Equal(p.AllowedIPs, e.p.AllowedIPs) {
			differs("AllowedIPs of "+p.Name, set(p.AllowedIPs), set(e.p.AllowedIPs))
		}
		if p.Keepalive != e.p.Keepalive {
			differs("PersistentKeepalive of "+p.Name, p.Keepalive, e.p.Keepalive)
		}
		if e.p.Endpoint != "" && p.Endpoint != e.p.Endpoint {
			differs("Endpoint of "+p.Name, p.Endpoint, e.p.Endpoint)
		}
	}
	for _, name := range sorted(byName) {
		m.leave(h.d.Pos, "[Peer] "+name,
			"it is not in this file, and in that of "+name+" this host is: it becomes a peer of both")
	}
}

func set(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, p := range prefixes {
		words[i] = p.String()
	}
	return inOrder(words)
}

// own are the addresses of a view, and locals those of a device, far ends among them.
func own(v *tunnel.View) string {
	words := make([]string, len(v.Addresses))
	for i, a := range v.Addresses {
		words[i] = spelled(foreign.Address{Local: a, Remote: v.Remotes[a.Addr()]})
	}
	return inOrder(words)
}

func locals(addresses []foreign.Address) string {
	words := make([]string, len(addresses))
	for i, a := range addresses {
		words[i] = spelled(a)
	}
	return inOrder(words)
}

func inOrder(words []string) string {
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ",")
}
