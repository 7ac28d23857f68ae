package draft

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

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
		if name = slug(text); name != "" {
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

// plain has letters of the Latin alphabet without what is above and below them.
var plain = strings.NewReplacer(
	"à", "a", "á", "a", "â", "a", "ã", "a", "ä", "a", "å", "a", "ā", "a", "ą", "a",
	"æ", "ae",
	"ç", "c", "ć", "c", "č", "c",
	"ď", "d", "đ", "d",
	"è", "e", "é", "e", "ê", "e", "ë", "e", "ē", "e", "ę", "e", "ě", "e",
	"ğ", "g",
	"ì", "i", "í", "i", "î", "i", "ï", "i", "ī", "i", "ı", "i",
	"ł", "l",
	"ñ", "n", "ń", "n", "ň", "n",
	"ò", "o", "ó", "o", "ô", "o", "õ", "o", "ö", "o", "ø", "o", "ő", "o",
	"œ", "oe",
	"ř", "r",
	"ś", "s", "š", "s", "ş", "s", "ș", "s",
	"ß", "ss",
	"ť", "t", "ț", "t",
	"ù", "u", "ú", "u", "û", "u", "ü", "u", "ū", "u", "ů", "u", "ű", "u",
	"ý", "y", "ÿ", "y",
	"ź", "z", "ż", "z", "ž", "z",
)

// slug is a name as a host may have it: small letters, digits, - and _; "" if nothing
// of it can stay.
func slug(s string) string {
	var b strings.Builder
	gap := false
	text := strings.ToLower(s)
	if strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
		text = plain.Replace(text)
	}
	for _, r := range text {
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
