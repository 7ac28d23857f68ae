package draft

import (
	"bytes"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/lazyregexp"
	"wgkeys/keyring/parallel"
)

// A check reads the tunnel file of a draft back.
type check struct {
	*maker
	from []foreign.Pos // of each line of the text, see writer
}

// verify compares the view of each host with the host's own files.
func (c *check) verify() error {
	t, err := c.parse()
	if err == errAgain {
		return err
	}
	if err != nil {
		return c.source(err)
	}
	view := t.Views(c.known)
	for _, h := range c.list {
		if h.d == nil {
			continue
		}
		v, err := view(h.name)
		if err != nil {
			return err
		}
		c.compare(h, v)
	}
	return nil
}

// parse reads the tunnel file. Other programs accept values that a tunnel file cannot have,
// such as the endpoint 0.0.0.0. Such lines are dropped, which may bring out errors in
// others. The error is non-nil if a line without a key is wrong.
func (c *check) parse() (*tunnel.Tunnel, error) {
	for {
		t, err := tunnel.ParseText(c.Text, c.Tunnel)
		switch {
		case err == nil:
			return t, nil
		case c.unsend(err):
			return nil, errAgain
		case !c.drop(err):
			return nil, err
		}
	}
}

// unsend removes the endpoints that err is about from the devices, and reports whether
// there are any.
func (c *check) unsend(err error) (found bool) {
	fault.Each(err, func(f *fault.Fault) {
		n := f.Line - 1
		if n < 0 || n >= len(c.from) || !strings.HasPrefix(f.File, tunnel.Dir) || !c.isEndpoint(n) {
			return
		}
		for _, h := range c.list {
			for _, e := range h.entries {
				if e.p.Endpoint != "" && e.p.Where("endpoint") == c.from[n] {
					unsend(h.d, e.p, c.because(f))
					found = true
				}
			}
		}
	})
	return found
}

// isEndpoint reports whether line n, counted from 0, is an endpoint.
func (c *check) isEndpoint(n int) bool {
	lines := bytes.SplitN(c.Text, []byte("\n"), n+2)
	return n < len(lines) && bytes.HasPrefix(lines[n], []byte("endpoint = "))
}

// drop removes the lines that err is about, and reports whether there are any.
func (c *check) drop(err error) bool {
	lines := bytes.SplitAfter(c.Text, []byte("\n"))
	dropped := map[int]string{} // the line to put in its place
	fault.Each(err, func(f *fault.Fault) {
		n := f.Line - 1
		if n < 0 || n >= len(c.from) || !strings.HasPrefix(f.File, tunnel.Dir) {
			return
		}
		key, _, ok := strings.Cut(string(lines[n]), " = ")
		if !ok || strings.HasPrefix(key, "#") || key == "managed" {
			return
		}
		c.leave(c.from[n], key, c.because(f))
		if dropped[n] = instead(lines, n, key); dropped[n] == string(lines[n]) {
			dropped[n] = ""
		}
	})
	if len(dropped) == 0 {
		return false
	}
	for n, other := range dropped {
		lines[n] = []byte(other)
	}
	withoutEmpty(lines)
	c.Text = nil
	var from []foreign.Pos
	for n, line := range lines {
		if c.Text = append(c.Text, line...); len(line) > 0 && n < len(c.from) {
			from = append(from, c.from[n])
		}
	}
	c.from = from
	return true
}

// withoutEmpty removes the tables of pairs that are empty now, each with the blank line
// before it. An empty table of a host still declares the host.
func withoutEmpty(lines [][]byte) {
	blank := []byte("\n")
	for n, line := range lines {
		if !bytes.HasPrefix(line, []byte("[hosts.")) || !bytes.Contains(line, []byte(".peer.")) {
			continue
		}
		next := slices.IndexFunc(lines[n+1:], func(l []byte) bool { return len(l) > 0 })
		if next < 0 || bytes.Equal(lines[n+1+next], blank) {
			lines[n] = nil
			if n > 0 && bytes.Equal(lines[n-1], blank) {
				lines[n-1] = nil
			}
		}
	}
}

// instead returns the line that replaces a dropped one, or "". Without the keys table and
// routes, all allowed IPs would be routed, which is more than the files say.
func instead(lines [][]byte, n int, key string) string {
	if key == "table" {
		return "table = \"off\"\n"
	}
	for n--; key == "routes" && n >= 0; n-- {
		if bytes.HasPrefix(lines[n], []byte("[")) {
			if bytes.Contains(lines[n], []byte(".peer.")) {
				return "routes = []\n"
			}
			break
		}
	}
	return ""
}

// because returns the reason in f. References to lines of the tunnel file, which the user
// does not have, become references to the lines that they come from.
func (c *check) because(f *fault.Fault) string {
	why := f.Why
	if f.Err != nil {
		why = strings.TrimPrefix(why+": "+f.Err.Error(), ": ")
	}
	return ofDraft().ReplaceAllStringFunc(why, func(place string) string {
		line, err := strconv.Atoi(place[strings.LastIndexByte(place, ':')+1:])
		if err != nil || line < 1 || line > len(c.from) {
			return place
		}
		at := c.from[line-1]
		return at.File + ":" + strconv.Itoa(at.Line)
	})
}

// ofDraft matches a reference to a line of a tunnel file.
var ofDraft = lazyregexp.New(regexp.QuoteMeta(tunnel.Dir) + `/[^ :]+\.toml:\d+`)

// source makes an error in the tunnel file refer to the line that it comes from.
func (c *check) source(err error) error {
	fault.Each(err, func(f *fault.Fault) {
		if f.Line > 0 && f.Line <= len(c.from) && strings.HasPrefix(f.File, tunnel.Dir) {
			at := c.from[f.Line-1]
			f.Why = c.because(f)
			f.File, f.Line = at.File, at.Line
		}
	})
	return fault.Wrap(err, "cannot say in a tunnel file what the files say of", c.Tunnel, "")
}

// compare records where the view of h differs from its files.
func (c *check) compare(h *host, v *tunnel.View) {
	differs := func(at foreign.Pos, what string, has, wants any) {
		if has != wants && !c.reported(at) {
			c.leave(at, what, "it cannot be said as it is")
		}
	}
	differs(h.d.Where("listen_port"), "ListenPort", v.ListenPort, h.d.ListenPort)
	differs(h.d.Where("mtu"), "MTU", v.MTU, h.d.MTU)
	differs(h.d.Where("fwmark"), "FwMark", v.FwMark, h.d.FwMark)
	differs(h.d.Where("addresses"), "Address", own(v), locals(h.d.Addresses))
	parts := parallel.Ranges(len(v.Peers), fewHosts)
	parallel.Each(len(parts), func(n int) {
		for i := parts[n].From; i < parts[n].To; i++ {
			c.byName[v.Peers[i].Name].seen = &v.Peers[i]
		}
	})
	for _, e := range h.entries {
		p := e.peer.seen
		if p == nil {
			c.leave(e.p.Pos, "[Peer] "+e.peer.name, "the two are not peers by the file of the other")
			continue
		}
		e.peer.seen = nil
		if !slices.Equal(p.AllowedIPs, e.p.AllowedIPs) {
			differs(e.p.Where("allowed_ips"), "AllowedIPs of "+p.Name, set(p.AllowedIPs), set(e.p.AllowedIPs))
		}
		if p.Keepalive != e.p.Keepalive {
			differs(e.p.Pos, "PersistentKeepalive of "+p.Name, p.Keepalive, e.p.Keepalive)
		}
		if e.p.Endpoint != "" && p.Endpoint != e.p.Endpoint {
			differs(e.p.Where("endpoint"), "Endpoint of "+p.Name, p.Endpoint, e.p.Endpoint)
		}
	}
	c.compareRoutes(h, v)
	for i := range v.Peers {
		name := v.Peers[i].Name
		if o := c.byName[name]; o.seen != nil {
			o.seen = nil
			c.leave(h.d.Pos, "[Peer] "+name,
				"it is not in this file, and in that of "+name+" this host is: it becomes a peer of both")
		}
	}
}

// compareRoutes records which routes of the view have another next hop than those in the
// files, where a route for an allowed IP has none.
func (c *check) compareRoutes(h *host, v *tunnel.View) {
	special := func(r tunnel.Route) bool { return r.Gateway.IsValid() || r.Metric != 0 }
	if len(h.kept) == 0 && !slices.ContainsFunc(v.Routes, special) {
		return // as nearly always
	}
	files := map[netip.Prefix]foreign.Route{}
	for _, e := range h.entries {
		for _, p := range e.p.AllowedIPs {
			files[p] = foreign.Route{Pos: e.p.Where("allowed_ips"), Prefix: p}
		}
	}
	for _, r := range h.kept {
		files[r.Prefix] = r
	}
	for _, r := range v.Routes {
		if r.Metric != 0 && v.Table == 0 && aroundEndpoint(v, r.Prefix) {
			c.leave(files[r.Prefix].Pos, "metric of route "+r.Prefix.String(),
				"an endpoint may lie in it: so a tunnel has it in a table of its own, before all routes of the main one")
		}
		if has, ok := files[r.Prefix]; ok && has.Gateway != r.Gateway {
			gets := "none"
			if r.Gateway.IsValid() {
				gets = r.Gateway.String()
			}
			c.leave(has.Pos, "gateway of route "+r.Prefix.String(), "a host's routes to a peer have one next hop, and this one has "+
				gets)
		}
	}
}

// aroundEndpoint reports whether prefix is a default route, or half of one, and the encrypted
// packets of a peer may go there. A name may be of an address of either family.
func aroundEndpoint(v *tunnel.View, prefix netip.Prefix) bool {
	return prefix.Bits() < foreign.Wide && slices.ContainsFunc(v.Peers, func(p tunnel.Peer) bool {
		at, err := netip.ParseAddrPort(p.Endpoint)
		return err != nil || at.Addr().Is4() == prefix.Addr().Is4()
	})
}

// reported reports whether something at this place was left out already.
func (c *check) reported(at foreign.Pos) bool {
	return slices.ContainsFunc(c.Left, func(l foreign.Left) bool { return l.Pos == at })
}

func set(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, p := range prefixes {
		words[i] = p.String()
	}
	return inOrder(words)
}

// own returns the addresses of a view, and locals those of a device, with their remote
// addresses.
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
