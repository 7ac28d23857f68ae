package ssh

import "strings"

// OneLine joins the lines of a script that ends each command with a semicolon, without its
// comments. If the script has no single quote, backslash or exclamation mark, every login
// shell reads the line alike between single quotes.
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

// ScriptCommand is a command line, the same for every host, that runs the script first under a
// name. The text of second is its argument.
func ScriptCommand(name, first, second string) string {
	return "exec sh -c '" + OneLine(first) + "' " + name + " '" + OneLine(second) + "'"
}
