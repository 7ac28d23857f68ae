package push

import (
	_ "embed"
	"strings"
)

//go:embed boot.sh
var bootScript string

//go:embed plain.sh
var plainScript string

// command is the same for every host and every file: paths and secrets travel
// on standard input, so no login shell has anything to misread.
var command = "exec sh -c '" + oneLine(bootScript) + "' wgkeys-push '" + oneLine(plainScript) + "'"

// oneLine joins the lines of a script that ends each command with a semicolon.
func oneLine(script string) string {
	var words []string
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			words = append(words, line)
		}
	}
	return strings.Join(words, " ")
}
