package ifupdown

import (
	"os"
	"path"
	"strings"
)

// wgQuick reports whether a command has wg-quick set an interface up or down. `wg-quick strip`
// only prints.
func wgQuick(command string) bool {
	w := strings.Fields(command)
	return len(w) > 1 && path.Base(w[0]) == "wg-quick" && w[1] != "strip"
}

// maxExpanded bounds the bytes that variables add to a command.
const maxExpanded = 1 << 16

// expand replaces $IF_ADDRESS and the like by the values of options, which commands find in
// their environment (interfaces(5), "ENVIRONMENT VARIABLES").
func (s *stanza) expand(command string) string {
	if !strings.Contains(command, "$IF_") && !strings.Contains(command, "${IF_") {
		return command
	}
	size := 0
	expanded := os.Expand(command, func(name string) string {
		if values := s.variables[name]; len(values) == 1 && size < maxExpanded {
			size += len(values[0])
			return values[0]
		}
		return "${" + name + "}"
	})
	if size >= maxExpanded {
		return command
	}
	return expanded
}
