package tunnel

import (
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"wgkeys/keyring/fault"
)

// All is the pattern that matches every host.
const All = "*"

// Select returns the hosts that words select, each once and in the order of the words: a
// host's name, a pattern of names (path.Match: * ? [a-z]), or @TAG. The hosts of a pattern
// or a tag are sorted, without unmanaged ones. A plain name is taken as it is, even if no
// tunnel has it: each verb reports that itself. A pattern or a tag that selects no host is
// an error.
func Select(tunnels []*Tunnel, words []string) ([]string, error) {
	var all []string
	seen := map[string]bool{}
	for _, word := range words {
		hosts, err := meant(tunnels, word)
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			if !seen[h] {
				seen[h] = true
				all = append(all, h)
			}
		}
	}
	return all, nil
}

// IsPattern reports whether a word selects hosts by a pattern or a tag, not by a name.
func IsPattern(word string) bool {
	return strings.HasPrefix(word, "@") || strings.ContainsAny(word, `*?[\`)
}

func meant(tunnels []*Tunnel, word string) ([]string, error) {
	if !IsPattern(word) {
		return []string{word}, nil
	}
	tag, tagged := strings.CutPrefix(word, "@")
	if _, err := path.Match(word, ""); !tagged && err != nil {
		return nil, fault.New("not a pattern of hosts:", word, "a [ is not closed", "wgkeys help hosts")
	}
	hosts := map[string]bool{} // and whether it is managed
	for name, h := range hostsOf(tunnels) {
		if matched, _ := path.Match(word, name); tagged && h.tagged(tag) || !tagged && matched {
			hosts[name] = hosts[name] || !h.unmanaged()
		}
	}
	managed := maps.Clone(hosts)
	maps.DeleteFunc(managed, func(_ string, yes bool) bool { return !yes })
	switch {
	case len(managed) > 0:
		return slices.Sorted(maps.Keys(managed)), nil
	case len(hosts) > 0:
		return nil, fault.New("nobody logs in to the hosts of", word, "they have managed = false", "")
	case tagged:
		return nil, noSuchTag(tunnels, tag)
	}
	return nil, fault.New("no host matches", word, "no tunnel file names one", "grep hosts "+Dir+"/*"+ext)
}

// hostsOf are the hosts of several tunnels: one in two tunnels is in it twice.
func hostsOf(tunnels []*Tunnel) iter.Seq2[string, *host] {
	return func(yield func(string, *host) bool) {
		for _, t := range tunnels {
			for _, h := range t.sorted {
				if !yield(h.name, h) {
					return
				}
			}
		}
	}
}

// Tags are all that hosts of the tunnels have, sorted.
func Tags(tunnels []*Tunnel) []string {
	tags := map[string]bool{}
	for _, h := range hostsOf(tunnels) {
		for _, v := range h.tags.vals {
			tags[v.val] = true
		}
	}
	return slices.Sorted(maps.Keys(tags))
}

func (h *host) tagged(tag string) bool {
	return slices.ContainsFunc(h.tags.vals, func(v value[string]) bool { return v.val == tag })
}

// noSuchTag is the error with the tags that there are, or how a host gets one.
func noSuchTag(tunnels []*Tunnel, tag string) error {
	names := Tags(tunnels)
	for i := range names {
		names[i] = "@" + names[i]
	}
	if len(names) == 0 {
		return fault.New("no host has the tag", "@"+tag, "no host has any",
			`write tags = ["`+tag+`"] under [hosts.NAME] in a tunnel file`)
	}
	near := didYouMean("@"+tag, slices.Values(names))
	const shown = 8
	if len(names) > shown {
		names = append(names[:shown:shown], "...")
	}
	return fault.New("no host has the tag", "@"+tag, "there are "+strings.Join(names, ", ")+near,
		"grep tags "+Dir+"/*"+ext)
}

// NoSuchHost is the error for a name that no tunnel has, with the nearest name.
func NoSuchHost(tunnels []*Tunnel, name string) error {
	if slices.ContainsFunc(tunnels, func(t *Tunnel) bool { return t.Name == name }) {
		return aTunnel(name)
	}
	return noSuchHost(name, "no tunnel file names it", "grep hosts "+Dir+"/*"+ext, tunnels...)
}
