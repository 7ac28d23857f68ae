package words

import "strings"

// Commands are the command lines of hints about one tunnel. If the repository has several,
// most verbs require -t, and the others would work on all of them without it.
type Commands struct {
	Tunnel string // for -t; "": the repository has no other

	// IfFormer gives what to do if hosts that lack keys have them under another name, and then
	// "else: "; it may be nil.
	IfFormer func(hosts []string) string
}

// Gen returns what to do about hosts that lack keys: make them, unless they have them under
// another name.
func (c Commands) Gen(hosts ...string) string { return c.IfNotRenamed(hosts, c.Run("gen", hosts...)) }

// IfNotRenamed returns a hint about hosts that lack keys, and before it what to do if they
// have them under another name.
func (c Commands) IfNotRenamed(hosts []string, hint string) string {
	if c.IfFormer == nil {
		return hint
	}
	return c.IfFormer(hosts) + hint
}

// IfRenamed is the beginning of a hint that is right unless old was renamed by hand. The
// names are part of vault files, so that only the verb can rename them.
func IfRenamed(flag, old, new string) string {
	return "if " + old + " is to be called " + new + ": wgkeys mv " + flag + ForShell(old) + " " + ForShell(new) +
		"; else: "
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
