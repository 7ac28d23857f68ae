package lookup

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// resolversOf returns the resolvers that the tunnel has, according to the journal, or is to
// have, according to the view; nil if there are none.
func resolversOf(view *tunnel.View, entries journal.Entries) (own []netip.Addr) {
	set := strings.Fields(entries[apply.DNSChange{Link: view.Tunnel}.Resource()].Set)
	for _, word := range slices.Concat(view.DNS, set) {
		if a, err := netip.ParseAddr(word); err == nil {
			own = append(own, a)
		}
	}
	return own
}

// outsideResolvers returns at most six resolvers of the uplinks: those that the host's
// resolver manager knows for other links, and those of resolv.conf(5), without the tunnel's
// own.
func outsideResolvers(ctx context.Context, s *apply.State, own []netip.Addr) []netip.Addr {
	var found []netip.Addr
	switch {
	case s.Resolver == apply.Resolved:
		found = resolvedResolvers(ctx, s.Record)
	case s.Resolver == apply.Resolvconf:
		found = recordedResolvers(s.Record)
	}
	for _, file := range []string{resolvConf, "/run/systemd/resolve/resolv.conf"} {
		text, _ := os.ReadFile(file)
		for _, a := range nameservers(string(text)) {
			if stub := a == netip.AddrFrom4([4]byte{127, 0, 0, 53}); !stub && !slices.Contains(own, a) {
				found = append(found, a)
			}
		}
	}
	found = unmapped(found)
	const most = 6
	return found[:min(most, len(found))]
}

// onlyInside returns the first of the resolvers if all are INSIDE, where a name that the
// tunnel needs cannot be asked for before the tunnel is up.
func onlyInside(view *tunnel.View, resolvers []netip.Addr) (first netip.Addr) {
	if len(resolvers) == 0 || slices.ContainsFunc(resolvers, func(a netip.Addr) bool { return !apply.IsInside(view, a) }) {
		return first
	}
	return resolvers[0]
}

// recordedResolvers reads the records that resolvconf(8) keeps by interface, other than the
// tunnel's own. The directories are those of Debian's resolvconf, and of openresolv before
// and since 3.13.
func recordedResolvers(own string) (found []netip.Addr) {
	for _, folder := range []string{"/run/resolvconf/interface", "/run/resolvconf/interfaces", "/run/resolvconf/keys"} {
		records, _ := filepath.Glob(folder + "/*")
		for _, path := range records {
			if filepath.Base(path) == own {
				continue
			}
			text, _ := os.ReadFile(path)
			found = append(found, nameservers(string(text))...)
		}
	}
	return found
}

// resolvedResolvers asks systemd-resolved for the resolvers of all links but own.
func resolvedResolvers(ctx context.Context, own string) []netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "resolvectl", "dns").Output()
	return resolvedServers(string(out), own)
}

// resolvedServers parses the output of resolvectl dns: a line for each link, as "Link 2
// (eth0): 192.0.2.53 2001:db8::53#name", whose list may go on in the next line.
func resolvedServers(said, own string) (found []netip.Addr) {
	mine := false
	for line := range strings.Lines(said) {
		if link, ok := strings.CutPrefix(line, "Link "); ok {
			_, name, _ := strings.Cut(link, "(")
			mine = strings.HasPrefix(name, own+")")
		} else if strings.HasPrefix(line, "Global") {
			mine = false
		}
		for word := range strings.FieldsSeq(line) {
			word, _, _ = strings.Cut(word, "#")
			if a, err := netip.ParseAddr(word); err == nil && !mine {
				found = append(found, a)
			}
		}
	}
	return found
}

// nameservers parses the nameserver lines of resolv.conf(5).
func nameservers(text string) (found []netip.Addr) {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "nameserver" {
			if a, err := netip.ParseAddr(words[1]); err == nil {
				found = append(found, a)
			}
		}
	}
	return found
}
