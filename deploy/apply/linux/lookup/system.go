package lookup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"
)

// bySystem resolves a name as the host's other programs do, in the order of
// nsswitch.conf(5) and with all its modules. This program is linked without the C library,
// so it runs getent(1). Where there is none, or one without ahosts, Go's own resolver reads
// /etc/hosts and asks the DNS.
func bySystem(ctx context.Context, host string) ([]netip.Addr, error) {
	cmd := exec.CommandContext(ctx, "getent", "ahosts", host)
	cmd.WaitDelay = 100 * time.Millisecond
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return addressesIn(out), nil
	case ctx.Err() != nil:
		return nil, errors.New("no answer in time")
	case errors.As(err, &exit) && exit.ExitCode() == 2: // not found
		return nil, errors.New("no such host")
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, plainly(err)
	}
	return unmapped(addrs), nil
}

// withoutResolver adds to the error of a name that nothing can be found of but what is in
// /etc/hosts.
func withoutResolver(err error) error {
	text, _ := os.ReadFile(resolvConf)
	if err == nil || len(nameservers(string(text))) > 0 {
		return err
	}
	return fmt.Errorf("%w, and %s names no resolver", err, resolvConf)
}

const resolvConf = "/etc/resolv.conf"

// addressesIn parses the output of getent ahosts: the address is the first word of a line,
// and is listed once for each type of socket.
func addressesIn(lines []byte) []netip.Addr {
	var addrs []netip.Addr
	for line := range bytes.Lines(lines) {
		if word, _, _ := strings.Cut(strings.TrimSpace(string(line)), " "); word != "" {
			if a, err := netip.ParseAddr(word); err == nil {
				addrs = append(addrs, a)
			}
		}
	}
	return unmapped(addrs)
}

// unmapped converts IPv4-mapped addresses to IPv4 and removes duplicates.
func unmapped(addrs []netip.Addr) []netip.Addr {
	var once []netip.Addr
	seen := map[netip.Addr]bool{}
	for _, a := range addrs {
		if a = a.Unmap(); !seen[a] {
			seen[a] = true
			once = append(once, a)
		}
	}
	return once
}

// plainly returns a resolver's error without the name, which the caller's text has already.
func plainly(err error) error {
	var dns *net.DNSError
	switch {
	case !errors.As(err, &dns):
		return err
	case dns.IsNotFound:
		return errors.New("no such host")
	case dns.IsTimeout:
		return errors.New("no answer in time")
	case strings.Contains(dns.Err, " udp "): // "read udp 192.0.2.2:40346->192.0.2.1:53: read: connection refused"
		return fmt.Errorf("no resolver answers: %s", dns.Err[strings.LastIndex(dns.Err, ": ")+2:])
	}
	return fmt.Errorf("%s", dns.Err)
}
