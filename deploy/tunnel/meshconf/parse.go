// Package meshconf reads the database of wg-meshconf: a CSV table of hosts with their
// private keys, in which every two hosts are peers.
//
// Columns mean what the configuration files that wg-meshconf writes say to wg-quick
// (genconfig in database_manager.py of version 2.5).
package meshconf

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"io"
	"math"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
)

// maxHosts bounds the size of a database, because the number of peers is quadratic in it.
const maxHosts = 2000

// columns are the columns that wg-meshconf has. The last came with preshared keys.
var columns = []string{"Name", "Address", "Endpoint", "AllowedIPs", "ListenPort", "PersistentKeepalive", "FwMark",
	"PrivateKey", "DNS", "MTU", "Table", "PreUp", "PostUp", "PreDown", "PostDown", "SaveConfig", "PresharedKeys"}

// Parse reads databases, each of which is one tunnel, and returns a device for each host.
func Parse(files []foreign.File) ([]*foreign.Device, error) {
	r := &foreign.Reader{Tool: "wg-meshconf"}
	var devices []*foreign.Device
	for _, f := range files {
		m := &mesh{Reader: r, psks: map[[2]string]keyring.PresharedKey{}}
		m.read(f)
		if r.Err() == nil {
			devices = append(devices, m.devices()...)
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return devices, nil
}

// A mesh is one database.
type mesh struct {
	*foreign.Reader
	hosts []*host
	psks  map[[2]string]keyring.PresharedKey // by the names of both hosts, in both orders
}

// A host is a row of the table.
type host struct {
	d         *foreign.Device // its peers are added last
	name      string          // in the database
	cells     map[string]cell
	public    keyring.PublicKey
	allowed   []netip.Prefix // its allowed IPs at all other hosts
	endpoint  string
	keepalive int
	off       bool // Table = off
}

// A cell is a value in a row.
type cell struct {
	at   foreign.Pos
	text string
}

func (m *mesh) read(f foreign.File) {
	c := csv.NewReader(bytes.NewReader(f.Text))
	head, err := c.Read()
	if err != nil {
		m.bad(f, err)
		return
	}
	for i, name := range head {
		if !slices.Contains(columns, name) {
			line, _ := c.FieldPos(i)
			m.Unknown(foreign.Pos{File: f.Name, Line: line}, "the first line", name, columns)
		}
	}
	names := map[string]bool{}
	for {
		row, err := c.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			m.bad(f, err)
			return
		}
		h := &host{cells: map[string]cell{}}
		line, _ := c.FieldPos(0)
		h.d = &foreign.Device{Pos: foreign.Pos{File: f.Name, Line: line}, Name: nameOf(f)}
		for i, text := range row {
			line, _ := c.FieldPos(i)
			h.cells[head[i]] = cell{foreign.Pos{File: f.Name, Line: line}, strings.TrimSpace(text)}
		}
		if h.name = h.cells["Name"].text; h.name == "" || names[h.name] {
			m.Wrong(h.d.Pos, "", "the host has no name, or that of another one")
		}
		names[h.name] = true
		m.host(h)
		if m.hosts = append(m.hosts, h); len(m.hosts) > maxHosts {
			m.Wrong(h.d.Pos, "", "more than %d hosts, of which every two are peers", maxHosts)
			return
		}
	}
	if len(m.hosts) == 0 {
		m.Wrong(foreign.Pos{File: f.Name, Line: 1}, "", "no host is in it")
	}
	m.name()
}

// nameOf returns the name of the interface, which no column has. People give it to the
// files of wg-meshconf when they copy them to the hosts. So a database with a name of its
// own, such as mesh1.csv, is taken to be named after the interface; otherwise it is wg0.
func nameOf(f foreign.File) string {
	if f.Interface != "" {
		return f.Interface
	}
	name := strings.TrimSuffix(path.Base(f.Name), path.Ext(f.Name))
	if name == "database" || tunnel.CheckName(name) != nil {
		return "wg0"
	}
	return name
}

// name gives the hosts valid names. Hosts whose name in the database is valid keep it, and
// come first.
func (m *mesh) name() {
	taken := map[string]bool{}
	for _, h := range m.hosts {
		if keyring.CheckHost(h.name) == nil {
			h.d.Host = h.name
			taken[h.name] = true
		}
	}
	for i, h := range m.hosts {
		if h.d.Host != "" {
			continue
		}
		base := cmp.Or(foreign.HostName(h.name), "host-"+strconv.Itoa(i+1))
		h.d.Host, h.d.Description = base, h.name
		for n := 2; taken[h.d.Host]; n++ {
			h.d.Host = base + "-" + strconv.Itoa(n)
		}
		taken[h.d.Host] = true
	}
}

// bad reports an error in the CSV. Errors of encoding/csv do not repeat text of the file.
func (m *mesh) bad(f foreign.File, err error) {
	at, why := foreign.Pos{File: f.Name, Line: 1}, "it is empty"
	var p *csv.ParseError
	if errors.As(err, &p) {
		at.Line, why = max(p.Line, 1), p.Err.Error()
	}
	m.Wrong(at, "", "it is not a table in CSV: %s", why)
}

// host reads the cells that are about the host itself.
func (m *mesh) host(h *host) {
	d := h.d
	number := func(name string, low, high int) int {
		if c := h.cells[name]; c.text != "" {
			return m.Number(c.at, name, c.text, low, high)
		}
		return 0
	}
	if c := h.cells["PrivateKey"]; c.text == "" {
		m.Wrong(d.Pos, "wg-meshconf init", "the host has no PrivateKey")
	} else if d.PrivateKey = m.PrivateKey(c.at, "PrivateKey", c.text); !d.PrivateKey.IsZero() {
		h.public = d.PrivateKey.PublicKey()
	}
	for _, p := range m.prefixes(h, "Address") {
		d.Addresses = append(d.Addresses, foreign.Address{Pos: h.cells["Address"].at, Local: p})
		h.allowed = append(h.allowed, p.Masked())
	}
	for _, p := range m.prefixes(h, "AllowedIPs") {
		h.allowed = append(h.allowed, p.Masked())
	}
	d.ListenPort = number("ListenPort", 0, math.MaxUint16)
	d.MTU = number("MTU", 68, math.MaxUint16)
	h.keepalive = number("PersistentKeepalive", 0, math.MaxUint16)
	if c := h.cells["FwMark"]; !strings.EqualFold(c.text, "off") {
		d.FwMark = uint32(number("FwMark", 0, foreign.Max32))
	}
	d.DNS = list(h.cells["DNS"].text)
	m.table(h)
	m.endpoint(h)
	m.presharedKeys(h)
	for _, key := range []string{"PreUp", "PostUp", "PreDown", "PostDown"} {
		if c := h.cells[key]; c.text != "" {
			d.Hook(c.at, key, c.text)
		}
	}
}

// list splits the values of a cell at commas.
func list(text string) (values []string) {
	for s := range strings.SplitSeq(text, ",") {
		if s = strings.TrimSpace(s); s != "" {
			values = append(values, s)
		}
	}
	return values
}

func (m *mesh) prefixes(h *host, name string) (all []netip.Prefix) {
	c := h.cells[name]
	for _, s := range list(c.text) {
		if p, ok := m.Prefix(c.at, name, s); ok {
			all = append(all, p)
		}
	}
	return all
}

// table reads Table as wg-quick does.
func (m *mesh) table(h *host) {
	switch c := h.cells["Table"]; strings.ToLower(c.text) {
	case "", "auto", "main":
	case "off":
		h.off = true
	default:
		h.d.Table = m.Number(c.at, "Table", c.text, 1, foreign.Max32)
	}
}

// endpoint joins the host of the endpoint and the port on which the host listens.
func (m *mesh) endpoint(h *host) {
	c := h.cells["Endpoint"]
	if c.text == "" {
		return
	}
	if h.d.ListenPort == 0 {
		m.Wrong(c.at, "", "the endpoint has no port: its host needs a ListenPort")
		return
	}
	where := c.text
	if a, err := netip.ParseAddr(where); err == nil && a.Is6() {
		where = "[" + where + "]"
	}
	h.endpoint = m.Endpoint(c.at, "Endpoint", where+":"+h.cells["ListenPort"].text)
}

// presharedKeys reads "NAME:NAME:KEY,…".
func (m *mesh) presharedKeys(h *host) {
	c := h.cells["PresharedKeys"]
	for _, s := range list(c.text) {
		w := strings.Split(s, ":")
		if len(w) != 3 {
			m.Wrong(c.at, "", "PresharedKeys: one is not NAME:NAME:KEY")
			continue
		}
		key := m.PresharedKey(c.at, "PresharedKeys", w[2])
		for _, pair := range [][2]string{{w[0], w[1]}, {w[1], w[0]}} {
			if before, ok := m.psks[pair]; ok && !before.Equal(key) {
				m.Wrong(c.at, "", "PresharedKeys: the key of %s and %s is another one than before", foreign.Shown(w[0]),
					foreign.Shown(w[1]))
				break
			}
			m.psks[pair] = key
		}
	}
}

// devices returns the hosts, each with all others as its peers.
func (m *mesh) devices() (list []*foreign.Device) {
	for _, h := range m.hosts {
		owner := map[netip.Prefix]int{}
		for _, other := range m.hosts {
			if other == h {
				continue
			}
			peer := foreign.Peer{Pos: other.d.Pos, Name: other.d.Host, PublicKey: other.public, Endpoint: other.endpoint,
				Keepalive: other.keepalive, PresharedKey: m.psks[[2]string{h.name, other.name}], Routed: !h.off}
			n := len(h.d.Peers)
			for _, a := range other.allowed {
				switch before, ok := owner[a]; {
				case ok && before == n:
					continue
				case ok: // the kernel gives a prefix to the last peer
					p := &h.d.Peers[before]
					p.AllowedIPs = slices.DeleteFunc(p.AllowedIPs, func(q netip.Prefix) bool { return q == a })
				}
				owner[a] = n
				peer.AllowedIPs = append(peer.AllowedIPs, a)
			}
			h.d.Peers = append(h.d.Peers, peer)
		}
		list = append(list, h.d)
	}
	return list
}
