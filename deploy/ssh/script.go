package ssh

import "strings"

// OneLine joins the lines of a script that ends each command with a semicolon. Where the
// script has no single quote, backslash or exclamation mark, it stands between single
// quotes in a command that every login shell reads alike.
func OneLine(script string) string {
	var words []string
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			words = append(words, line)
		}
	}
	return strings.Join(words, " ")
}
