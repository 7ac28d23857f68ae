package foreign

import (
	"strings"

	"wgkeys/deploy/tunnel"
)

// describes is the beginning of a comment with a host's description, for formats that have
// no key for it.
const describes = "description: "

// Described returns the comments that name a host and give its description, if it has one.
func Described(name string, a tunnel.About) []string {
	if a.Description == "" {
		return []string{name}
	}
	return []string{name, describes + a.Description}
}

// DescribedIn returns the description among the comments of a host, and the other comments.
func DescribedIn(comments []string) (description string, others []string) {
	for _, c := range comments {
		if text, ok := strings.CutPrefix(c, describes); ok && description == "" {
			description = strings.TrimSpace(text)
			continue
		}
		others = append(others, c)
	}
	return description, others
}
