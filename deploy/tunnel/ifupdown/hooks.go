package ifupdown

import (
	"os"
	"path"
	"strings"
)

// hookKeys are the options that hold a command, each with the one that ifupdown takes it
// for, in the order of their runs.
var hookKeys = map[string]string{
	"pre-up": "pre-up", "up": "up", "post-up": "up", "down": "down", "pre-down": "down", "post-down": "post-down",
}

func isHook(key string) bool { return hookKeys[key] != "" }

// hooks takes in the commands of one kind.
func (b *builder) hooks(s *stanza, kind string) {
	for _, o := range s.options {
		switch {
		case hookKeys[o.key] != kind:
		case wgQuick(o.value):
			if kind == "pre-up" || kind == "up" {
				b.Wrong(o.at, "wgkeys import /etc/wireguard/"+b.d.Name+".conf",
					"wg-quick makes this interface, from a file of its own")
			}
		case !b.written(o.at, o.value):
			b.d.Hook(o.at, o.key, s.expand(o.value))
		}
	}
}

func wgQuick(command string) bool {
	w := strings.Fields(command)
	return len(w) > 1 && path.Base(w[0]) == "wg-quick"
}

// maxExpanded bounds what a command is with its variables put in, in bytes.
const maxExpanded = 1 << 16

// expand puts the values of options in the place of $IF_ADDRESS and the like, which the
// commands of a stanza find in their environment (interfaces(5), "ENVIRONMENT VARIABLES").
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
