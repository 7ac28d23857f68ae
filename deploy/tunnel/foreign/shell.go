package foreign

import (
	"iter"
	"strings"

	"wgkeys/keyring/lazyregexp"
)

// commands splits a line for sh(1) into simple commands that run one after another. A line
// that does more than that is returned as one command, which fields then refuses.
func commands(line string) (list []string) {
	line = strings.TrimSpace(uncommented(line))
	if m := shell().FindStringSubmatch(line); m != nil && !strings.ContainsAny(m[1][1:len(m[1])-1], m[1][:1]+`\`) {
		return commands(m[1][1 : len(m[1])-1])
	}
	line = teed().ReplaceAllString(stripped(line), "echo $1 > $2")
	if composed(line) {
		return []string{line}
	}
	for _, c := range sequence(line) {
		c = strings.TrimSpace(c)
		if c != "" && c != "true" && c != ":" && !strings.HasPrefix(c, "exit 0") {
			list = append(list, c)
		}
	}
	return list
}

// shell matches a line that is run by a shell of its own: bash -c 'LINE'.
var shell = lazyregexp.New(`^(?:/usr)?(?:/bin/)?(?:ba|da)?sh -c ('.+'|".+")$`)

// teed matches a kernel parameter that is written by way of tee(1), which sudo can run.
var teed = lazyregexp.New(`^echo (\S+) ?\| ?(?:sudo )?tee (?:-a )?(/proc/sys/\S+)(?: ?>/dev/null)?$`)

// strip matches the two ways to give wg(8) what it takes of a file of wg-quick, which people
// write for `wg setconf`: `wg setconf wg0 <(wg-quick strip wg0)`, and by a pipe.
var strip, stripPipe = lazyregexp.New(`<\((?:/usr/bin/)?wg-quick strip ("?)([^\s()|;&"'\x60]+)"?\)`),
	lazyregexp.New(`^(?:/usr/bin/)?wg-quick strip ("?)([^\s()|;&"'\x60]+)"? ?\| ?((?:/usr/bin/)?wg \w+conf \S+) (?:/dev/stdin|/dev/fd/0|/proc/self/fd/0|-)$`)

// stripped names the file itself where `wg-quick strip` reads one, by its path or by the name
// of its interface (parse_options in wg-quick's linux.bash).
func stripped(line string) string {
	file := func(m []string) string {
		if strings.HasPrefix(m[2], "/") {
			return m[1] + m[2] + m[1]
		}
		return m[1] + "/etc/wireguard/" + m[2] + ".conf" + m[1]
	}
	if m := stripPipe().FindStringSubmatch(line); m != nil {
		return m[3] + " " + file(m)
	}
	return strip().ReplaceAllStringFunc(line, func(s string) string { return file(strip().FindStringSubmatch(s)) })
}

// unquoted yields the indexes of line that are not quoted or escaped.
func unquoted(line string) iter.Seq[int] {
	return func(yield func(at int) bool) {
		quote := byte(0)
		for i := 0; i < len(line); i++ {
			switch c := line[i]; {
			case quote != 0:
				if c == quote {
					quote = 0
				}
			case c == '\\':
				i++
			case c == '\'' || c == '"':
				quote = c
			case !yield(i):
				return
			}
		}
	}
}

// uncommented returns a line without its comment, which begins with "#" at the beginning of
// a word.
func uncommented(line string) string {
	for i := range unquoted(line) {
		if line[i] == '#' && (i == 0 || strings.IndexByte(" \t;&|", line[i-1]) >= 0) {
			return line[:i]
		}
	}
	return line
}

// reserved matches what begins a compound command (sh(1)), whose commands run on a condition, or
// several times.
var reserved = lazyregexp.New(`(?:^|[;&|])\s*(?:\(|(?:if|for|while|until|case)\s)`)

// composed reports whether a line has a pipe, a command substitution, a group or a condition.
func composed(line string) bool {
	return reserved().MatchString(line) || strings.ContainsAny(strings.ReplaceAll(line, "${IFACE}", ""), "`{}") || strings.Contains(line, "$(") ||
		strings.Contains(strings.ReplaceAll(line, "||", ""), "|")
}

// sequence splits a line at unquoted ";", "&&" and "||".
func sequence(line string) (parts []string) {
	start := 0
	for i := range unquoted(line) {
		double := i+1 < len(line) && line[i+1] == line[i]
		switch c := line[i]; {
		case i < start: // the second of two
		case c == ';' || c == '\n':
			parts, start = append(parts, line[start:i]), i+1
		case double && (c == '&' || c == '|'):
			parts, start = append(parts, line[start:i]), i+2
		}
	}
	return append(parts, line[start:])
}

// silence removes redirections that only suppress output. It also replaces the output of
// cat(1) by the file itself, because wg-quick(8) documents `wg set` with <(cat FILE).
var silence = strings.NewReplacer("<(cat ", "<(", "2>&1", "", "2>/dev/null", "", "2> /dev/null", "", "&>/dev/null", "",
	"&> /dev/null", "", ">/dev/null", "", "> /dev/null", "")

// fields splits a simple command into words and removes the quotes; simple is false if the
// command is not that simple.
func fields(command string) (words []string, simple bool) {
	s := splitter{text: silence.Replace(command)}
	for s.at < len(s.text) {
		if !s.step() {
			return nil, false
		}
	}
	s.end()
	for i, w := range s.words {
		if inner, ok := strings.CutPrefix(w, "<("); ok && strings.HasSuffix(inner, ")") {
			s.words[i] = strings.TrimSuffix(inner, ")")
		} else if ok {
			return nil, false // the output of a program
		} else if strings.Contains(w, "$") && !onlyIface(w) {
			return nil, false
		}
	}
	return s.words, s.quote == 0
}

// A splitter splits a command into words.
type splitter struct {
	text  string
	at    int
	words []string
	word  strings.Builder
	in    bool // a word has begun
	quote byte // the open one; 0: none
}

func (s *splitter) end() {
	if s.in {
		s.words = append(s.words, s.word.String())
		s.word.Reset()
		s.in = false
	}
}

func (s *splitter) put(c byte) {
	s.word.WriteByte(c)
	s.in = true
}

// step reads one character. It reports false if the command is not simple.
func (s *splitter) step() bool {
	c := s.text[s.at]
	s.at++
	if s.quote != 0 {
		return s.quoted(c)
	}
	switch c {
	case '\'', '"':
		s.quote, s.in = c, true
	case ' ', '\t':
		s.end()
	case '>':
		s.end()
		s.words = append(s.words, ">")
	case '\\':
		if s.at == len(s.text) {
			return false
		}
		s.put(s.text[s.at])
		s.at++
	case '~':
		if !s.in && !routingDomain().MatchString(s.text[s.at:]) {
			return false
		}
		s.put(c)
	case '`', '&', '|', '*', '?':
		return false
	default:
		s.put(c)
	}
	return true
}

// routingDomain matches what follows "~" in a domain for resolvectl(1), such as "~." and
// "~example.net". sh(1) leaves it as it is, since no user is called so.
var routingDomain = lazyregexp.New(`^(?:\.|[\w-]+\.[\w.-]+)(?:\s|$)`)

// quoted reads a character between quotes.
func (s *splitter) quoted(c byte) bool {
	switch {
	case c == s.quote:
		s.quote = 0
	case c == '`', c == '\\' && s.quote == '"':
		return false
	default:
		s.put(c)
	}
	return true
}

// onlyIface reports whether all variables in a word name the interface.
func onlyIface(w string) bool {
	for _, v := range []string{"${IFACE}", "$IFACE", "$INTERFACE"} {
		w = strings.ReplaceAll(w, v, "")
	}
	return !strings.Contains(w, "$")
}
