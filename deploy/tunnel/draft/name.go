package draft

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// What people and programs write beside a peer to say whose it is: "Name = phone",
// "friendly_name=phone", "### Client phone", "### begin phone ###", "BEGIN_PEER phone".
var (
	labelled = regexp.MustCompile(`(?i)^(?:friendly[_ -]?name|name|peer|client|user|host)\s*[=:]\s*(.+)$`)
	marked   = regexp.MustCompile(`(?i)^(?:client|peer|begin|begin_peer|user)\s+(\S+)$`)
	opening  = regexp.MustCompile(`(?i)^(\S+)\s+begin$`)
	closing  = regexp.MustCompile(`(?i)^(\S+)\s+end$`)
	ending   = regexp.MustCompile(`(?i)^(?:end|end_peer)\s+\S+$`)
	field    = regexp.MustCompile(`^[\p{L} _-]+:(?:\s|$)`)

	// ofKeys are words of a comment on what a key says, which names nobody
	ofKeys = regexp.MustCompile(`(?i)\b(?:keys?|keepalive|allow(?:s|ed)?|everything|endpoint|ports?|ips?|address(?:es)?)\b`)
	// number is one that a program gives to each peer, behind its name
	number = regexp.MustCompile(`\s*\([0-9a-fA-F-]{32,36}\)$`)
)

// nameFor makes the name of a host of which only a peer's entry is known, and a
// description where the name does not say all that stood there. The comments that are
// neither stay as they are.
func (m *maker) nameFor(p *foreign.Peer, n int) (name, description string, comment []string) {
	words := []string{p.Name, p.Description}
	used := -1
	if p.Name == "" {
		words, used = append(words, ""), nameAmong(p)
		if used >= 0 {
			words[2] = spoken(p.Comment[used])
			if of := opening.FindStringSubmatch(p.Comment[used]); of != nil {
				m.opened[of[1]] = true
			}
		}
	}
	for i, c := range p.Comment {
		if i != used && !m.ends(c) {
			comment = append(comment, c)
		}
	}
	description = p.Description
	for _, w := range words {
		text := w
		if strings.HasSuffix(w, ")") {
			text = number.ReplaceAllString(w, "")
		}
		if name = foreign.HostName(text); name != "" {
			if !strings.EqualFold(name, w) && description == "" {
				description = w
			}
			return m.free(name), description, comment
		}
		if w != "" && description == "" {
			description = w // it has no letter that a name may have
		}
	}
	if name = foreign.HostName(ofEndpoint(p.Endpoint)); name == "" {
		name = ofAddress(p, n)
	}
	return m.free(name), description, comment
}

// nameAmong is the comment of p that most looks like a name, -1 for none.
func nameAmong(p *foreign.Peer) int {
	for i, c := range p.Comment {
		if labelled.MatchString(c) || marked.MatchString(c) || opening.MatchString(c) {
			return i
		}
	}
	for i, c := range p.Comment {
		if len(c) > 48 || len(strings.Fields(c)) > 4 {
			continue
		}
		other := field.MatchString(c) || ending.MatchString(c) || strings.Contains(c, "=") || ofKeys.MatchString(c) ||
			slices.Contains(p.Beside, c)
		if !other {
			return i
		}
	}
	return -1
}

// ends tells of a comment that closes what another one has opened.
func (m *maker) ends(comment string) bool {
	if of := closing.FindStringSubmatch(comment); of != nil && m.opened[of[1]] {
		return true
	}
	return ending.MatchString(comment)
}

// spoken is the name in a comment.
func spoken(comment string) string {
	for _, re := range []*regexp.Regexp{labelled, marked, opening} {
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

// digitsAlone tells of "7", and of "7-1".
func digitsAlone(s string) bool { return strings.Trim(s, "0123456789-_ ") == "" }

// free is name, or with a number that no other host has. Of a thousand that are called the same
// each goes on from the number before.
func (m *maker) free(name string) string {
	n := name
	for m.byName[n] != nil {
		m.numbers[name] = max(m.numbers[name], 1) + 1
		n = name + "-" + strconv.Itoa(m.numbers[name])
	}
	return n
}
