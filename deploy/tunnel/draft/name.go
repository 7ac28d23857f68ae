package draft

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// What people and programs write beside a peer to say whose it is: "Name = phone",
// "friendly_name=phone", "### Client phone", "### begin phone ###", "BEGIN_PEER phone".
var (
	labelled = regexp.MustCompile(`(?i)^(?:friendly[_ -]?name|name|peer|client|user|host)\s*[=:]\s*(.+)$`)
	marked   = regexp.MustCompile(`(?i)^(?:client|peer|begin|begin_peer|user)\s+(\S+)$`)
	ending   = regexp.MustCompile(`(?i)^(?:end|end_peer)\s+\S+$`)
	field    = regexp.MustCompile(`^[\p{L} _-]+:(?:\s|$)`)
)

// nameFor makes the name of a host of which only a peer's entry is known, and a
// description where the name does not say all that stood there. The comments that are
// neither stay as they are.
func (m *maker) nameFor(p *foreign.Peer, n int) (name, description string, comment []string) {
	words := []string{p.Name, p.Description}
	used := -1
	if p.Name == "" {
		words, used = append(words, ""), nameAmong(p.Comment)
		if used >= 0 {
			words[2] = spoken(p.Comment[used])
		}
	}
	for i, c := range p.Comment {
		if i != used && !ending.MatchString(c) {
			comment = append(comment, c)
		}
	}
	description = p.Description
	for _, w := range words {
		if name = slug(w); name != "" {
			if !strings.EqualFold(name, w) && description == "" {
				description = w
			}
			return m.free(name), description, comment
		}
		if w != "" && description == "" {
			description = w // it has no letter that a name may have
		}
	}
	if name = slug(ofEndpoint(p.Endpoint)); name == "" {
		name = ofAddress(p, n)
	}
	return m.free(name), description, comment
}

// nameAmong is the comment that most looks like a name, -1 for none.
func nameAmong(comments []string) int {
	for i, c := range comments {
		if labelled.MatchString(c) || marked.MatchString(c) {
			return i
		}
	}
	for i, c := range comments {
		other := field.MatchString(c) || ending.MatchString(c) || strings.Contains(c, "=")
		if len(strings.Fields(c)) <= 4 && len(c) <= 48 && !other {
			return i
		}
	}
	return -1
}

// spoken is the name in a comment.
func spoken(comment string) string {
	for _, re := range []*regexp.Regexp{labelled, marked} {
		if m := re.FindStringSubmatch(comment); m != nil && !digitsAlone(m[1]) { // "peer 7" is no 7
			return strings.TrimSpace(m[1])
		}
	}
	return strings.TrimRight(strings.TrimSpace(comment), ":.")
}

// ofEndpoint is the first label of an endpoint's name, "" for an address.
func ofEndpoint(endpoint string) string {
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

// dashed spells an address as a name may have it.
var dashed = strings.NewReplacer(".", "-", ":", "-")

// ofAddress names a peer by its first address, or by its number.
func ofAddress(p *foreign.Peer, n int) string {
	for _, a := range p.AllowedIPs {
		if a.IsSingleIP() {
			return "peer-" + strings.Trim(dashed.Replace(a.Addr().String()), "-")
		}
	}
	return "peer" + strconv.Itoa(n)
}

// slug is a name as a host may have it: small letters, digits, - and _; "" if nothing
// of it can stay.
func slug(s string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(s) {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '_' {
			if gap && b.Len() > 0 {
				b.WriteByte('-')
			}
			gap = false
			b.WriteRune(r)
		} else {
			gap = true
		}
	}
	name := strings.Trim(b.String()[:min(b.Len(), 50)], "-_")
	if strings.Trim(name, "0123456789-_") == "" && !digitsAlone(s) {
		return "" // what was left of other letters
	}
	return name
}

func digitsAlone(s string) bool { return strings.Trim(s, "0123456789-_ ") == "" }

// free is name, or with a number that no other host has.
func (m *maker) free(name string) string {
	for i, n := 2, name; ; i++ {
		if m.byName[n] == nil {
			return n
		}
		n = name + "-" + strconv.Itoa(i)
	}
}
