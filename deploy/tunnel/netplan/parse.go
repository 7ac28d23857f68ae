// Package netplan reads and writes tunnels of mode wireguard in netplan's YAML (netplan(5)
// of netplan 1.2), from which netplan makes the configuration of systemd-networkd or
// NetworkManager.
package netplan

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"wgkeys/deploy/tunnel/foreign"
)

const tool = "netplan"

// most is how many bytes of files are read at most. 10,000 peers are 3 MB.
const most = 32 << 20

// Parse reads files of netplan. As netplan does, it merges the files of a directory in the
// order of their names. But two files that both give a tunnel's key belong to two hosts.
// Tunnels of other modes and all other devices are ignored.
func Parse(files []foreign.File) ([]*foreign.Device, error) {
	r := &foreign.Reader{Tool: tool}
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b foreign.File) int { return strings.Compare(a.Name, b.Name) })
	if !r.Bounded(files, most) {
		return nil, r.Err()
	}
	m := &merger{Reader: r, last: map[string]*parser{}, renderer: map[string]string{}}
	for _, f := range files {
		m.file(f)
	}
	var devices []*foreign.Device
	for _, p := range m.all {
		if p.mode == "wireguard" {
			p.settle(m.renderer[p.folder])
			devices = append(devices, p.d)
		}
	}
	if len(devices) == 0 && r.Err() == nil && len(files) > 0 {
		r.Wrong(foreign.Pos{File: files[0].Name, Line: 1}, "", "no tunnel of mode wireguard is here")
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return devices, nil
}

// A merger merges the files of a directory.
type merger struct {
	*foreign.Reader
	all      []*parser
	last     map[string]*parser // by directory and name of the tunnel
	renderer map[string]string  // the default for all devices, by directory
}

// deviceKinds are the other keys beside tunnels (netplan(5), "Device configuration IDs").
var deviceKinds = []string{"ethernets", "modems", "wifis", "bridges", "bonds", "vlans", "vrfs", "dummy-devices",
	"virtual-ethernets", "nm-devices", "openvswitch"}

func (m *merger) file(f foreign.File) {
	var doc yaml.Node
	if err := yaml.Unmarshal(f.Text, &doc); err != nil {
		m.Wrong(foreign.Pos{File: f.Name, Line: 1}, "", "it is no YAML: %s", foreign.Shown(err.Error()))
		return
	}
	if doc.Kind != yaml.DocumentNode {
		return // the file is empty
	}
	y := &reader{m.Reader, f.Name}
	var about []string // comments on the file
	for _, top := range y.fields(doc.Content[0], "the file") {
		if top.key != "network" {
			m.Unknown(y.pos(top.at), "the file", top.key, []string{"network"})
			continue
		}
		about = append(about, comments(top.at)...)
		for _, e := range y.fields(top.value, "network") {
			m.network(y, e, &about)
		}
	}
}

// network reads one key below network.
func (m *merger) network(y *reader, e field, about *[]string) {
	folder := path.Dir(path.Clean(y.file))
	switch {
	case e.key == "version":
		if y.text(e.value, "version") != "2" {
			y.Wrong(y.pos(e.at), "", "version: netplan has 2 alone")
		}
	case e.key == "renderer":
		m.renderer[folder] = y.text(e.value, "renderer")
	case e.key == "tunnels":
		for _, t := range y.fields(e.value, "tunnels") {
			p := m.tunnel(y, t, folder)
			p.d.Comment = append(p.d.Comment, *about...)
			*about = nil
			p.tunnel(t)
		}
	case !slices.Contains(deviceKinds, e.key):
		m.Unknown(y.pos(e.at), "network", e.key, append([]string{"version", "renderer", "tunnels"}, deviceKinds...))
	}
}

// tunnel returns the tunnel that t begins or adds to.
func (m *merger) tunnel(y *reader, t field, folder string) *parser {
	id := folder + "/" + t.key
	p := m.last[id]
	if p == nil || p.keyed && hasKey(t.value) {
		p = &parser{d: &foreign.Device{Pos: y.pos(t.at), Name: t.key}, folder: folder}
		m.last[id], m.all = p, append(m.all, p)
	}
	p.reader, p.keyed = y, p.keyed || hasKey(t.value)
	return p
}

func hasKey(tunnel *yaml.Node) bool {
	for i := 0; i+1 < len(tunnel.Content); i += 2 {
		if k := tunnel.Content[i].Value; k == "key" || k == "keys" {
			return true
		}
	}
	return false
}
