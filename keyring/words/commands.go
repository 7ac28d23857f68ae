package words

import "strings"

// Commands spell what a person is to run about one tunnel. In a repository with several of
// them most verbs want to be told which, and the others would work on all.
type Commands struct {
	Tunnel string // "" where the repository has no other
}

// Run is the command line of a verb, which may have flags after it, for some hosts.
func (c Commands) Run(verb string, hosts ...string) string {
	line := []string{"wgkeys", verb}
	if c.Tunnel != "" {
		line = append(line, "-t", ForShell(c.Tunnel))
	}
	for _, h := range hosts {
		line = append(line, ForShell(h))
	}
	return strings.Join(line, " ")
}
