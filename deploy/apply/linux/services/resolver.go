// Package services configures the programs of a host that act on the tunnel's interface:
// the resolver, which is given the tunnel's DNS servers, and the network managers, which
// have to leave the interface alone.
package services

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// ObserveResolver finds the program that takes resolvers by link, if the view has some or
// the journal says that they were set.
func ObserveResolver(name string, s *apply.State, view *tunnel.View, entries journal.Entries) {
	_, known := entries[apply.DNSChange{Link: name}.Resource()]
	if !known && (view == nil || view.DNS == nil) {
		return
	}
	s.Resolver, s.Record = resolver(), name
	if s.Resolver == apply.Resolvconf {
		s.Record = firstInOrder() + name
	}
	s.ForgotDNS = known && forgotten(s)
	s.HasDNS, _ = recorded(s)
}

// resolver returns the program on this host that takes resolvers by link, or "".
func resolver() string {
	if _, err := os.Stat("/run/systemd/resolve/io.systemd.Resolve"); err == nil {
		if _, err := exec.LookPath("resolvectl"); err == nil {
			return apply.Resolved
		}
	}
	if path, err := exec.LookPath("resolvconf"); err == nil && !isResolvectl(path) {
		return apply.Resolvconf
	}
	return ""
}

// isResolvectl reports whether the program resolvconf is systemd-resolved's, which needs
// systemd-resolved to run (resolvectl(1), "compatibility with resolvconf").
func isResolvectl(path string) bool {
	target, err := filepath.EvalSymlinks(path)
	return err == nil && filepath.Base(target) == "resolvectl"
}

// firstInOrder returns a prefix for the name of a record that puts it before those of the
// uplinks, so that the tunnel's resolvers are asked first.
//
// Debian's resolvconf orders records by the patterns in a file; the first that is a word
// and a star, "tun*", is for tunnels, and wg-quick(8) uses it too. openresolv has "vpn" in
// its dynamic_order (resolvconf.conf(5)). A metric of 0 would put the record last there,
// behind all that have none.
func firstInOrder() string {
	f, err := os.Open("/etc/resolvconf/interface-order")
	if err != nil {
		return "vpn."
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		word, star := strings.CutSuffix(lines.Text(), "*")
		if star && word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" {
			return word + "."
		}
	}
	return ""
}

// forgotten reports whether the resolver's own files no longer have the link.
func forgotten(s *apply.State) bool {
	has, known := recorded(s)
	return known && !has
}

// recorded reports whether the resolver's own files have the link, and whether it has files.
func recorded(s *apply.State) (has, known bool) {
	folders, record := []string{"/run/systemd/resolve/netif"}, strconv.Itoa(s.LinkIndex)
	if s.Resolver == apply.Resolvconf {
		// Debian's; openresolv's before and since 3.13
		folders, record = []string{"/run/resolvconf/interface", "/run/resolvconf/interfaces", "/run/resolvconf/keys"},
			s.Record
	}
	for _, folder := range folders {
		if _, err := os.Stat(folder); err != nil {
			continue
		}
		known = true
		if _, err := os.Stat(filepath.Join(folder, record)); err == nil {
			return true, true
		}
	}
	return false, known
}

// SetDNS sets or removes the resolvers of the link. Removing them is no error if they are
// gone already.
func SetDNS(ctx context.Context, c apply.DNSChange) error {
	switch {
	case c.Resolver == apply.Resolved && c.New == nil:
		runProgram(ctx, "", "resolvectl", "revert", c.Link)
		return nil
	case c.Resolver == apply.Resolved:
		return refused(c, "systemctl restart systemd-resolved", setResolved(ctx, c))
	case c.Resolver == apply.Resolvconf && c.New == nil:
		err := runProgram(ctx, "", "resolvconf", "-d", c.Record, "-f")
		if c.Perhaps() || forgotten(&apply.State{Resolver: c.Resolver, Record: c.Record}) {
			return nil
		}
		return refused(c, "resolvconf -u", err)
	case c.Resolver == apply.Resolvconf:
		return refused(c, "resolvconf -u", runProgram(ctx, apply.ResolvConf(c.New), "resolvconf", "-a", c.Record))
	case c.New == nil:
		return nil
	}
	return fmt.Errorf("neither %s nor %s is here", apply.Resolved, apply.Resolvconf)
}

func setResolved(ctx context.Context, c apply.DNSChange) error {
	servers, domains := tunnel.SplitDNS(c.New)
	if err := runProgram(ctx, "", "resolvectl", append([]string{"dns", c.Link}, servers...)...); err != nil {
		return err
	}
	if domains == nil {
		domains = []string{""} // an empty domain removes those that were set
	}
	return runProgram(ctx, "", "resolvectl", append([]string{"domain", c.Link}, domains...)...)
}

func refused(c apply.DNSChange, hint string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(err, "cannot tell the resolvers of the link to", c.Resolver,
		hint+" shows whether it works; or leave dns out of the tunnel file")
}
