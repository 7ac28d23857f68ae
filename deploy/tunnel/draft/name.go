package draft

import (
	"cmp"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
	"wgkeys/keyring/lazyregexp"
)

// What people and programs write beside a peer to name it: "Name = phone",
// "friendly_name=phone", "### Client phone", "### begin phone ###", "BEGIN_PEER phone".
var (
	labelled = lazyregexp.New(`(?i)^(?:friendly[_ -]?name|name|peer|client|user|host)#?\s*[=:]\s*(.+)$`)
	marked   = lazyregexp.New(`(?i)^(?:client|peer|begin|begin_peer|user)\s+(\S+)$`)
	opening  = lazyregexp.New(`(?i)^(\S+)\s+begin$`)
	closing  = lazyregexp.New(`(?i)^(\S+)\s+end$`)
	ending   = lazyregexp.New(`(?i)^(?:end|end_peer)\s+\S+$`)
	field    = lazyregexp.New(`^[\p{L} _-]+:(?:\s|$)`)

	// ofKeys matches comments on a setting, which do not name the peer
	ofKeys = lazyregexp.New(`(?i)\b(?:keys?|keepalive|allow(?:s|ed)?|everything|endpoint|ports?|ips?|address(?:es)?)\b`)
	// number matches an identifier that some programs append to the name
	number = lazyregexp.New(`\s*\([0-9a-fA-F-]{32,36}\)$`)
)

// nameFor chooses the name of a host that is known only as the peer p: what is written beside
// it, or else the name otherwise. It returns a description if the name does not say all that was
// written, and the remaining comments.
func (m *maker) nameFor(p *foreign.Peer, otherwise string) (name, description string, comment []string) {
	words := [3]string{p.Name, p.Description}
	used := -1
	if p.Name == "" {
		if used = nameAmong(p); used >= 0 {
			words[2] = spoken(p.Comment[used])
			if of := opening().FindStringSubmatch(p.Comment[used]); of != nil {
				m.opened[of[1]] = true
			}
		}
	}
	for i, c := range p.Comment {
		if i != used && !m.ends(c) {
			comment = append(comment, c)
		}
	}
	description, comment = foreign.DescribedIn(comment)
	description = cmp.Or(p.Description, description)
	for _, w := range words {
		if w == "" {
			continue
		}
		if name = hostName(w); name != "" {
			if !strings.EqualFold(name, w) && description == "" {
				description = w
			}
			return m.free(name), description, comment
		}
		if description == "" {
			description = w // no part of it can be in a name
		}
	}
	return m.free(otherwise), description, comment
}

// unspoken returns for each peer the name that it gets if nothing is written beside it: by its
// endpoint or its address. It is "" if that makes none.
func unspoken(peers []foreign.Peer) []string {
	names := make([]string, len(peers))
	for i := range peers {
		p := &peers[i]
		if names[i] = foreign.HostName(ofEndpoint(p.Endpoint)); names[i] == "" {
			names[i] = ofAddress(p)
		}
	}
	return names
}

// hostName makes a name of w, which stays as it is if it is one.
func hostName(w string) string {
	if strings.HasSuffix(w, ")") {
		w = number().ReplaceAllString(w, "")
	}
	if keyring.CheckHost(w) == nil {
		return w
	}
	return foreign.HostName(w)
}

// nameAmong returns the index of the comment of p that most looks like a name, or -1.
func nameAmong(p *foreign.Peer) int {
	for i, c := range p.Comment {
		if labelled().MatchString(c) || marked().MatchString(c) || opening().MatchString(c) {
			return i
		}
	}
	for i, c := range p.Comment {
		if compound(c) && !slices.Contains(p.Beside, c) {
			return i
		}
		if len(c) > 48 || len(strings.Fields(c)) > 4 {
			continue
		}
		other := field().MatchString(c) || ending().MatchString(c) || strings.Contains(c, "=") || ofKeys().MatchString(c) ||
			slices.Contains(p.Beside, c)
		if !other {
			return i
		}
	}
	return -1
}

// compound reports whether a comment is the name of a host that nobody writes for a setting,
// such as ip-172-31-5-9.
func compound(c string) bool {
	return strings.ContainsAny(c, "-0123456789") && keyring.CheckHost(c) == nil
}

// ends reports whether a comment only marks the end of a peer.
func (m *maker) ends(comment string) bool {
	if of := closing().FindStringSubmatch(comment); of != nil && m.opened[of[1]] {
		return true
	}
	return ending().MatchString(comment)
}

// spoken returns the name in a comment.
func spoken(comment string) string {
	for _, re := range []*regexp.Regexp{labelled(), marked(), opening()} {
		if m := re.FindStringSubmatch(comment); m != nil && !digitsAlone(m[1]) { // "7" would be a poor name for "peer 7"
			return strings.TrimSpace(m[1])
		}
	}
	return strings.TrimRight(strings.TrimSpace(comment), ":.")
}

// ofEndpoint returns the first label of an endpoint's domain name, or "" for an address.
func ofEndpoint(endpoint string) string {
	if _, err := netip.ParseAddrPort(endpoint); err == nil || endpoint == "" { // as most are
		return ""
	}
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return ""
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	label, _, _ := strings.Cut(host, ".")
	return label
}

// ofAddress names a peer by its first single address.
func ofAddress(p *foreign.Peer) string {
	for _, a := range p.AllowedIPs {
		switch {
		case !a.IsSingleIP():
		case a.Addr().Is4():
			return ofIPv4(a.Addr())
		default:
			return foreign.HostName("peer-" + strings.ReplaceAll(a.Addr().String(), ":", "-"))
		}
	}
	return ""
}

// ofIPv4 makes a name of an address, with dashes for its dots.
func ofIPv4(addr netip.Addr) string {
	name := addr.AppendTo(append(make([]byte, 0, len("peer-255-255-255-255")), "peer-"...))
	for i, c := range name {
		if c == '.' {
			name[i] = '-'
		}
	}
	return string(name)
}

// digitsAlone reports whether s has no letters, such as "7" and "7-1".
func digitsAlone(s string) bool { return strings.Trim(s, "0123456789-_ ") == "" }

// maxNumbered leaves room for a number in the 63 bytes that the name of a host may have.
const maxNumbered = 50

// free returns name or, if a host has it, name with a number. The number goes on from the
// last one given to the name, so that a thousand hosts of one name take linear time.
func (m *maker) free(name string) string {
	n := name
	name = name[:min(len(name), maxNumbered)]
	for m.byName[n] != nil {
		m.numbers[name] = max(m.numbers[name], 1) + 1
		n = name + "-" + strconv.Itoa(m.numbers[name])
	}
	return n
}
