package words

import "strings"

// Commands are the command lines of hints about one tunnel. If the repository has several,
// most verbs require -t, and the others would work on all of them without it.
type Commands struct {
	Tunnel string // for -t; "": the repository has no other
}

// Run returns the command line of a verb for some hosts; the verb may be followed by flags.
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
