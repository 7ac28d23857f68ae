package linux

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"wgkeys/deploy/apply"
)

const (
	resolved   = "systemd-resolved"
	resolvconf = "resolvconf"
)

// resolver tells what on this host takes resolvers by link.
func resolver() string {
	if _, err := os.Stat("/run/systemd/resolve/io.systemd.Resolve"); err == nil {
		if _, err := exec.LookPath("resolvectl"); err == nil {
			return resolved
		}
	}
	if _, err := exec.LookPath("resolvconf"); err == nil {
		return resolvconf
	}
	return ""
}

// setDNS tells the host's resolver. What is removed may be gone already.
func setDNS(ctx context.Context, c apply.DNSChange) error {
	servers, domains := apply.SplitDNS(c.New)
	switch kind := resolver(); {
	case kind == resolved && c.New == nil:
		runProgram(ctx, "", "resolvectl", "revert", c.Link)
		return nil
	case kind == resolved:
		if err := runProgram(ctx, "", "resolvectl", append([]string{"dns", c.Link}, servers...)...); err != nil {
			return err
		}
		if domains == nil {
			domains = []string{""} // none, also where there were some
		}
		return runProgram(ctx, "", "resolvectl", append([]string{"domain", c.Link}, domains...)...)
	case kind == resolvconf && c.New == nil:
		return runProgram(ctx, "", "resolvconf", "-d", c.Link)
	case kind == resolvconf:
		return runProgram(ctx, resolvConf(servers, domains), "resolvconf", "-a", c.Link)
	case c.New == nil:
		return nil
	}
	return fmt.Errorf("neither %s nor %s is here", resolved, resolvconf)
}

// resolvConf spells resolv.conf(5). It has no way to say which names to ask
// for, so "~" domains are left out.
func resolvConf(servers, domains []string) string {
	var b strings.Builder
	for _, s := range servers {
		b.WriteString("nameserver " + s + "\n")
	}
	for _, d := range domains {
		if !strings.HasPrefix(d, "~") {
			b.WriteString("search " + d + "\n")
		}
	}
	return b.String()
}

func runProgram(ctx context.Context, stdin, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
