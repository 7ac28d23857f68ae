package tunnel

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"wgkeys/keyring/words"
)

// A reader converts the tree to a Tunnel. Every method reports what is wrong and then
// returns a zero value, so that one run finds all errors.
type reader struct {
	problems
	t     *Tunnel
	known func() (top, host, pair []string) // [Keys]: the tables of keys themselves refer to the reader
}

// keys are the keys of one kind of table and how each is read.
type keys[T any] map[string]func(*reader, *T, *node)

// readTable reads every key of n into t.
func readTable[T any](r *reader, n *node, t *T, known keys[T]) {
	if !r.is(n, "a table", unstable.Table) {
		return
	}
	for _, v := range n.vals {
		if read, ok := known[v.name]; ok {
			read(r, t, v)
			continue
		}
		r.unknown(n, v, words.Nearest(v.name, maps.Keys(known)))
	}
}

// helpKeys is what to run where a key is not known.
const helpKeys = "wgkeys help tunnel"

func (r *reader) unknown(n, v *node, near string) {
	plain := words.Plainly(v.name)
	hint, why := helpKeys, ""
	switch {
	case plain == "privatekey" || plain == "presharedkey":
		hint, why = r.t.Commands.Run("gen", n.hostOr("HOST")), "a secret has no place in a plain file"
	case plain == "unmanaged":
		why = "write managed = false"
	case near != "":
		why = "did you mean " + strconv.Quote(near) + "?"
	case plain == "publickey":
		why = "public keys are in keyring/" + n.hostOr("HOST")
	default:
		why = r.intended(n, v, plain)
	}
	if why != "" {
		why = ": " + why
	}
	r.add(v.pos, hint, "unknown key %s %s%s", shown(v.name), n.where(), why)
}

// intended says what a key that is none was perhaps written for.
func (r *reader) intended(n, v *node, plain string) string {
	if where := r.elsewhere(n, v); where != "" {
		return where
	}
	switch { // keys of wg-quick(8)
	case plain == "persistentkeepalive":
		return `did you mean "keepalive"?`
	case plain == "allowedips":
		return "a host's allowed IPs at its peers are its addresses and its routes"
	case strings.HasSuffix(plain, "up"), strings.HasSuffix(plain, "down"):
		return "a tunnel file runs no program"
	}
	return "no key of this version of wgkeys"
}

// elsewhere says where a key belongs that is one of another kind of table, or how the header
// of a table is written.
func (r *reader) elsewhere(n, v *node) string {
	name := v.name
	top, host, pair := r.known()
	table, ofHost := v.kind == unstable.Table, n.path() == "hosts."+n.name
	switch {
	case table && n.parent == nil:
		return "a host is [hosts." + bare(name) + "]"
	case table && ofHost:
		return "no host's name has a dot, and a pair is [" + n.path() + ".peer.OTHER]"
	case n.parent == nil && slices.Contains(host, name):
		return "it stands under [hosts.NAME]"
	case n.parent != nil && slices.Contains(top, name):
		return "it stands at the top of the file"
	case ofHost && slices.Contains(pair, name):
		return "it stands under [" + n.path() + ".peer.OTHER]"
	case !ofHost && slices.Contains(host, name):
		return "it stands under [hosts." + n.hostOr("NAME") + "]"
	}
	return ""
}

// hostOr is the host whose table, or whose peer's, n is.
func (n *node) hostOr(other string) string {
	for ; n.parent != nil; n = n.parent {
		if n.parent.parent != nil && n.parent.parent.parent == nil && n.parent.name == "hosts" {
			return n.name
		}
	}
	return other
}

// is reports an error and returns false if n is of none of the wanted kinds.
func (r *reader) is(n *node, want string, kinds ...unstable.Kind) bool {
	for _, k := range kinds {
		if n.kind == k {
			return true
		}
	}
	r.add(n.pos, "", "%s: found %s, want %s", n.path(), describe(n), want)
	return false
}

func describe(n *node) string {
	switch n.kind {
	case unstable.String:
		return "the string " + shown(n.text)
	case unstable.Integer:
		return "the number " + shown(n.text)
	case unstable.Float:
		return "the fraction " + shown(n.text)
	case unstable.Bool:
		return n.text
	case unstable.Array:
		return "a list"
	case unstable.Table, unstable.InlineTable:
		return "a table"
	}
	return "a date or a time"
}

// unquoted says what is wanted in the place of n, which may be that, but for its quotes.
func (n *node) unquoted(want string) string {
	if n.kind == unstable.String {
		return want + ", without quotes"
	}
	return want
}

func (r *reader) bool(n *node) value[bool] {
	if !r.is(n, n.unquoted("true or false"), unstable.Bool) {
		return value[bool]{}
	}
	return value[bool]{n.text == "true", n.pos}
}

func (r *reader) int(n *node, low, high int) value[int] {
	want := fmt.Sprintf("a whole number from %d to %d", low, high)
	if !r.is(n, n.unquoted(want), unstable.Integer) {
		return value[int]{}
	}
	i, err := strconv.ParseInt(n.text, 0, 64)
	if err != nil || i < int64(low) || i > int64(high) {
		r.add(n.pos, "", "%s: found %s, want %s", n.path(), n.text, want)
		return value[int]{}
	}
	return value[int]{int(i), n.pos}
}

// routingTable reads a table in which routes can be put. Table 253, default, is one of
// them: a rule of the kernel looks there for what main does not have.
func (r *reader) routingTable(n *node) value[int] {
	if n.kind == unstable.String && n.text == "off" {
		return value[int]{tableOff, n.pos}
	}
	if !r.is(n, fmt.Sprintf(`"off" or a whole number from 0 to %d`, max32), unstable.Integer) {
		return value[int]{}
	}
	t := r.int(n, 0, max32)
	if err := checkTable(t.val); t.given() && err != nil {
		r.add(n.pos, "leave table out for the main table, or write a number that no other program uses: table = 51820",
			"%s: %v", n.path(), err)
		return value[int]{}
	}
	return t
}

// text reads a string with parse, whose error becomes the reason.
func text[T any](r *reader, n *node, want string, parse func(string) (T, error)) value[T] {
	if !r.is(n, want, unstable.String) {
		return value[T]{}
	}
	v, err := parse(n.text)
	if err != nil {
		r.add(n.pos, "", "%s: %v", n.path(), err)
		return value[T]{}
	}
	return value[T]{v, n.pos}
}

// texts reads a list of strings. An element that is given twice is an error.
func texts[T comparable](r *reader, n *node, want string, parse func(string) (T, error)) list[T] {
	wanted := "a list of strings"
	switch {
	case n.kind == unstable.String:
		wanted = "a list: [" + shown(n.text) + "]"
	case n.kind == unstable.Table && n.name == "peers":
		wanted += "; a pair is [" + n.parent.path() + ".peer.OTHER]"
	}
	if !r.is(n, wanted, unstable.Array) {
		return list[T]{}
	}
	l := list[T]{n.pos, make([]value[T], 0, len(n.vals))}
	seen := make(map[T]bool, len(n.vals))
	for _, elem := range n.vals {
		v := text(r, elem, want, parse)
		if v.given() && seen[v.val] {
			r.add(v.pos, "", "%s: %v is there twice", n.path(), v.val)
		} else if v.given() {
			l.vals = append(l.vals, v)
			if len(n.vals) > 1 {
				seen[v.val] = true
			}
		}
	}
	return l
}

// checked makes a parser from a check.
func checked(check func(string) error) func(string) (string, error) {
	return func(s string) (string, error) { return s, check(s) }
}

func prefixes[T comparable](r *reader, n *node, parse func(string) (T, error)) list[T] {
	return texts(r, n, "an INSIDE address or prefix in quotes", parse)
}

// keyFile reads the path of a private key. It must not end like a preshared key or a next
// key, which are in the same folder.
func (r *reader) keyFile(n *node) value[string] {
	return text(r, n, "a path in quotes", func(s string) (string, error) {
		if strings.HasSuffix(s, ".psk") {
			return "", errors.New("a private key file cannot end in .psk as the preshared keys do")
		}
		if strings.HasSuffix(s, ".next.key") {
			return "", errors.New("a private key file cannot end in .next.key as those of a rotation do")
		}
		return s, checkPath(s)
	})
}

// sysctls reads a table of sysctls into m. To TOML a key without quotes is a table in a
// table; its parts are joined again.
func (r *reader) sysctls(h *host, n *node, prefix string) {
	if !r.is(n, "a table of sysctls", unstable.Table) {
		return
	}
	for _, v := range n.vals {
		if v.kind == unstable.Table {
			r.sysctls(h, v, prefix+v.name+".")
			continue
		}
		if r.is(v, "a string, a whole number, true or false", unstable.String, unstable.Integer, unstable.Bool) {
			r.sysctl(h, v, prefix+v.name)
		}
	}
}

func (r *reader) sysctl(h *host, n *node, key string) {
	val := n.text
	switch {
	case n.kind == unstable.Bool && val == "true":
		val = "1"
	case n.kind == unstable.Bool:
		val = "0"
	case n.kind == unstable.Integer:
		i := r.int(n, math.MinInt, math.MaxInt)
		val = strconv.Itoa(i.val)
	}
	file, err := checkSysctl(key, val)
	if errors.Is(err, errForward) {
		r.add(n.pos, "write forward = true under [hosts."+h.name+"]", "%s: %v", shown(key), err)
		return
	} else if err != nil {
		r.add(n.pos, "", "sysctls: %v", err)
		return
	}
	if old, ok := h.sysctls[file]; ok {
		r.add(n.pos, "", "%s is already set in %s", shown(key), old.pos)
		return
	}
	if h.sysctls == nil {
		h.more().sysctls = map[string]sysctl{}
	}
	h.sysctls[file] = sysctl{key, value[string]{val, n.pos}}
}
