package tunnel

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/words"
)

// A Text is a file of a tunnel, by its path below the folder [Dir].
type Text struct {
	Path string
	Was  []byte
	Text []byte // what is to be in it
}

// RenameHost returns the files of the tunnel that name host, with newName in its place
// and every other byte as it was: comments, order, quotes. There is none if the tunnel
// does not name the host.
func RenameHost(fsys fs.FS, tunnel, host, newName string) ([]Text, error) {
	before, err := Parse(fsys, tunnel)
	if err != nil {
		return nil, err
	}
	hosts := before.Hosts()
	if !slices.Contains(hosts, host) {
		return nil, nil
	}
	if slices.Contains(hosts, newName) {
		return nil, fault.NewHost("there is a host already that is named", newName, "in "+path.Join(Dir, tunnel+ext),
			"first give that one another name: wgkeys mv "+newName+
				" NAME; where keys were exchanged by hand before all: git checkout HEAD -- keyring vault")
	}
	all, err := filesOf(fsys, tunnel)
	if err != nil {
		return nil, err
	}
	var m merger
	var changed []Text
	for _, t := range all {
		if t.Text, err = renameIn(t.Was, &renamer{host: host}, newName); err != nil {
			return nil, fault.WrapFile(err, "cannot write another name for the host into", path.Join(Dir, t.Path),
				"write it by hand, then this again")
		}
		if string(t.Text) != string(t.Was) {
			changed = append(changed, t)
		}
		m.file(path.Join(Dir, t.Path), files.Text(t.Text))
	}
	// What was not found by its place is found here: the host would be there still.
	after, err := build(tunnel, m.root, m.err())
	if err != nil {
		return nil, err
	}
	want := slices.Clone(hosts)
	want[slices.Index(want, host)] = newName
	slices.Sort(want)
	if !slices.Equal(want, after.Hosts()) {
		return nil, fault.NewHost("cannot write another name for the host", host, "tunnel "+tunnel+
			" names it in a way that is not known here", "write it by hand, then this again")
	}
	return changed, nil
}

// filesOf are those of a tunnel: its own and its drop-ins.
func filesOf(fsys fs.FS, tunnel string) (all []Text, err error) {
	names := []string{tunnel + ext}
	dropins, err := tomlFiles(fsys, tunnel+".d")
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read the folder", path.Join(Dir, tunnel+".d"),
			"ls -ld "+words.ForShell(path.Join(Dir, tunnel+".d")))
	}
	for _, file := range dropins {
		names = append(names, path.Join(tunnel+".d", file))
	}
	for _, name := range names {
		text, err := readFile(fsys, name, maxTunnel)
		if err != nil {
			return nil, fault.WrapFile(err, "cannot read tunnel file", path.Join(Dir, name),
				"ls -lL "+words.ForShell(path.Join(Dir, name)))
		}
		all = append(all, Text{name, text, text})
	}
	return all, nil
}

// RenameInterface returns the files of the tunnel with the sysctls of its interface as
// those of newName, and every other byte as it was.
func RenameInterface(fsys fs.FS, tunnel, newName string) ([]Text, error) {
	all, err := filesOf(fsys, tunnel)
	for i := range all {
		t := &all[i]
		text, err := renameIn(t.Was, &renamer{link: tunnel}, newName)
		if err != nil {
			return nil, fault.WrapFile(err, "cannot read tunnel file", path.Join(Dir, t.Path), "wgkeys check")
		}
		t.Text = text
	}
	return all, err
}

// A renamer finds where a file names a host, or an interface in a sysctl.
type renamer struct {
	host, link string // which of the two
	text       []byte
	places     []unstable.Range
	err        error
}

func renameIn(text []byte, r *renamer, newName string) ([]byte, error) {
	r.text = files.Text(text)
	var p unstable.Parser
	p.Reset(slices.Clip(r.text))
	var table []string
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table:
			table = r.key(nil, e)
		case unstable.KeyValue:
			r.keyValue(table, e)
		}
	}
	if err := errors.Join(p.Error(), r.err); err != nil {
		return nil, err
	}
	mark := len(text) - len(r.text)
	out, from := slices.Clone(text[:mark]), 0
	for _, at := range r.places {
		out = append(append(out, r.text[from:at.Offset]...), newName...)
		from = int(at.Offset + at.Length)
	}
	return append(out, r.text[from:]...), nil
}

// key is the path of a key in the table at above.
func (r *renamer) key(above []string, e *unstable.Node) []string {
	at := slices.Clone(above)
	for key := e.Key(); key.Next(); {
		at = append(at, string(key.Node().Data))
		switch {
		case r.link != "" && isSysctl(at):
			r.sysctl(key.Node())
		case r.host != "" && isHost(at):
			r.name(key.Node())
		}
	}
	return at
}

// isHost reports whether a key ends in the name of a host: hosts.shale, or
// hosts.basalt.peer.shale.
func isHost(at []string) bool {
	return len(at) == 2 && at[0] == "hosts" || len(at) == 4 && at[0] == "hosts" && at[2] == "peer"
}

// isSysctl reports whether a key ends in the key of a sysctl: hosts.shale.sysctls.KEY.
func isSysctl(at []string) bool { return len(at) == 4 && at[0] == "hosts" && at[2] == "sysctls" }

// sysctl records where n, the key of a sysctl, names the interface: net.ipv4.conf.wg0.mtu.
func (r *renamer) sysctl(n *unstable.Node) {
	raw := string(r.text[n.Raw.Offset : n.Raw.Offset+n.Raw.Length])
	for _, around := range []string{".", "/"} {
		if i := strings.Index(raw, around+r.link+around); i >= 0 {
			r.places = append(r.places, unstable.Range{Offset: n.Raw.Offset + uint32(i+1), Length: uint32(len(r.link))})
		}
	}
}

func (r *renamer) keyValue(above []string, e *unstable.Node) {
	at, v := r.key(above, e), e.Value()
	switch {
	case v.Kind == unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			r.keyValue(at, it.Node())
		}
	case r.host != "" && v.Kind == unstable.Array && len(at) == 3 && at[0] == "hosts" && at[2] == "peers":
		for it := v.Children(); it.Next(); {
			r.name(it.Node())
		}
	}
}

// name records the place of n, without its quotes, if it is the host's name.
func (r *renamer) name(n *unstable.Node) {
	if string(n.Data) != r.host {
		return
	}
	if n.Raw.Length == 0 {
		r.err = fmt.Errorf("%s stands in a place that is not known", r.host)
		return
	}
	raw := string(r.text[n.Raw.Offset : n.Raw.Offset+n.Raw.Length])
	i := strings.Index(raw, r.host)
	if i < 0 || strings.Trim(raw, `"'`) != r.host { // an escape, say
		r.err = fmt.Errorf("it spells %s as %s", r.host, shown(raw))
		return
	}
	r.places = append(r.places, unstable.Range{Offset: n.Raw.Offset + uint32(i), Length: uint32(len(r.host))})
}
