package foreign

import "strings"

// commands are the simple commands of a line for sh(1). Where it does more than run one
// after the other the line is one command, which fields then refuses.
func commands(line string) (list []string) {
	line = strings.TrimSpace(line)
	if strings.ContainsAny(line, "`|{}") && !strings.Contains(line, "||") || strings.Contains(line, "$(") ||
		strings.Contains(line, "|") && strings.Contains(strings.ReplaceAll(line, "||", ""), "|") {
		return []string{line}
	}
	start, quote := 0, byte(0)
	add := func(end int) {
		if c := strings.TrimSpace(line[start:end]); c != "" && c != "true" && c != ":" && !strings.HasPrefix(c, "exit 0") {
			list = append(list, c)
		}
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\\':
			i++
		case c == '\'' || c == '"':
			quote = c
		case c == ';' || c == '\n':
			add(i)
			start = i + 1
		case (c == '&' || c == '|') && i+1 < len(line) && line[i+1] == c:
			add(i)
			i++
			start = i + 1
		}
	}
	add(len(line))
	return list
}

// fields are the words of a simple command, without its quotes; false where it is not
// as simple as that. A file that is only read by cat(1), as wg-quick(8) shows it for
// `wg set`, is that file.
func fields(command string) (words []string, simple bool) {
	command = strings.NewReplacer("<(cat ", "<(", ">/dev/null", "", "2>&1", "", "> /dev/null", "").Replace(command)
	var word strings.Builder
	in, quote := false, byte(0)
	end := func() {
		if in {
			words = append(words, word.String())
			word.Reset()
			in = false
		}
	}
	for i := 0; i < len(command); i++ {
		c := command[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, in = c, true
		case quote == 0 && c == '\\' && i+1 < len(command):
			i++
			word.WriteByte(command[i])
			in = true
		case quote == 0 && (c == ' ' || c == '\t'):
			end()
		case c == '`' || c == '\\' && quote != '\'' || quote == 0 && strings.IndexByte("&|*?~", c) >= 0:
			return nil, false
		case quote == 0 && c == '>':
			end()
			words = append(words, ">")
		default:
			word.WriteByte(c)
			in = true
		}
	}
	end()
	for i, w := range words {
		if inner, ok := strings.CutPrefix(w, "<("); ok && strings.HasSuffix(inner, ")") {
			words[i] = strings.TrimSuffix(inner, ")")
		} else if strings.Contains(w, "$") && !onlyIface(w) {
			return nil, false
		}
	}
	return words, quote == 0
}

// onlyIface tells whether the variables of a word are those that name the interface.
func onlyIface(w string) bool {
	for _, v := range []string{"${IFACE}", "$IFACE", "$INTERFACE"} {
		w = strings.ReplaceAll(w, v, "")
	}
	return !strings.Contains(w, "$")
}
