package former

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// interfacesFiles are where ifupdown's stanzas are, unless a file names others.
var interfacesFiles = []string{"/etc/network/interfaces", "/etc/network/interfaces.d/*"}

func findIfupdown(_ context.Context, link string) (*Manager, error) {
	m := &Manager{Name: ifupdown, Link: link}
	has := false // a stanza: a file may have only the name, after auto
	seen := map[string]bool{}
	for patterns := slices.Clone(interfacesFiles); len(patterns) > 0; {
		paths, _ := filepath.Glob(patterns[0]) // an invalid pattern matches nothing
		patterns = patterns[1:]
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil || !info.Mode().IsRegular() || seen[path] {
				continue
			}
			seen[path] = true
			text, err := readIfThere(path)
			if err != nil {
				return nil, err
			}
			without, found, _ := withoutStanzas(text, link)
			if has = has || found; without != text {
				m.Files = append(m.Files, path)
			}
			patterns = append(patterns, sources(text)...)
		}
	}
	if !has {
		return nil, nil
	}
	return m, nil
}

// sources are the patterns of the files that a text includes (interfaces(5)).
func sources(text string) (patterns []string) {
	for _, line := range wholeLines(text) {
		words := strings.Fields(strings.ReplaceAll(line, "\\\n", " "))
		if len(words) < 2 || words[0] != "source" && words[0] != "source-directory" {
			continue
		}
		for _, p := range words[1:] {
			if !filepath.IsAbs(p) {
				p = filepath.Join("/etc/network", p)
			}
			if words[0] == "source-directory" {
				p = filepath.Join(p, "*")
			}
			patterns = append(patterns, p)
		}
	}
	return patterns
}

// leaveIfupdown moves files away that are for the interface alone, and comments out its
// stanzas in others. What ifup has recorded in /run/network/ifstate stays: ifdown finds no
// stanza for it, and does nothing.
//
// With ifupdown2 the interface keeps a stanza that does nothing: "ifreload -a", which Proxmox VE
// runs for each change of its network, removes an interface that was up by itself and has none
// any more (_reload_default in its ifupdownmain.py).
func (m *Manager) leaveIfupdown(r *Record) error {
	stanza := ""
	if isIfupdown2() {
		stanza = taken + "ifreload would remove it without a stanza\niface " + m.Link + " inet manual\n"
	}
	for _, path := range m.Files {
		was, err := readIfThere(path)
		if err != nil {
			return err
		}
		text, found, rest := withoutStanzas(was, m.Link)
		if found && stanza != "" {
			text, rest, stanza = text+stanza, true, ""
		}
		if rest {
			err = r.edit(path, was, text)
		} else {
			err = r.moveAside(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isIfupdown2 reports whether ifup(8) is a link to that of ifupdown2, a program in Python.
func isIfupdown2() bool {
	path, err := filepath.EvalSymlinks("/sbin/ifup")
	return err == nil && strings.Contains(path, "/ifupdown2/")
}

// taken precedes a line that was part of a stanza.
const taken = "# wgkeys has it: "

// withoutStanzas comments out the lines for an interface, and removes its name from those
// for several (interfaces(5)). It reports whether there is a stanza that makes the interface or
// sets it up, and whether the text has anything else.
func withoutStanzas(text, link string) (without string, found, rest bool) {
	var b strings.Builder
	inside := false
	for _, line := range wholeLines(text) {
		words := strings.Fields(strings.ReplaceAll(line, "\\\n", " "))
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
			b.WriteString(line)
			continue
		case words[0] == "iface":
			inside = len(words) > 1 && words[1] == link
			found = found || inside && words[len(words)-1] != "manual"
		case startsStanza(words[0]):
			inside = false
			if names := words[1:]; listsNames(words[0]) && slices.Contains(names, link) {
				if left := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == link }); len(left) > 0 {
					b.WriteString(words[0] + " " + strings.Join(left, " ") + "\n")
					rest = true
				}
				writeTaken(&b, line)
				continue
			}
		}
		if !inside {
			b.WriteString(line)
			rest = true
			continue
		}
		found = found || words[0] != "iface"
		writeTaken(&b, line)
	}
	return b.String(), found, rest
}

func writeTaken(b *strings.Builder, line string) {
	for raw := range strings.Lines(line) {
		// A backslash at the end of a comment continues nothing.
		b.WriteString(taken + raw)
	}
}

// wholeLines are the logical lines of a text, with their continuations.
func wholeLines(text string) (all []string) {
	var whole strings.Builder
	for raw := range strings.Lines(text) {
		comment := whole.Len() == 0 && strings.HasPrefix(strings.TrimSpace(raw), "#")
		whole.WriteString(raw)
		if strings.HasSuffix(raw, "\\\n") && !comment {
			continue
		}
		all = append(all, whole.String())
		whole.Reset()
	}
	if whole.Len() > 0 {
		all = append(all, whole.String())
	}
	return all
}

func startsStanza(word string) bool {
	return listsNames(word) || slices.Contains([]string{"mapping", "source", "source-directory", "rename", "template"},
		word)
}

// listsNames reports whether names of interfaces follow the word.
func listsNames(word string) bool {
	return word == "auto" || word == "no-auto-down" || word == "no-scripts" || strings.HasPrefix(word, "allow-")
}
