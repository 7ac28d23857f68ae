package tunnel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

var separators = strings.NewReplacer(".", "/", "/", ".")

// SwapSeparators converts between the name of a kernel parameter, with dots, and its path below
// /proc/sys, with slashes: a slash in the name is a dot in that of an interface.
func SwapSeparators(s string) string { return separators.Replace(s) }

// SysctlPath returns the file of key under /proc/sys, without a leading slash.
//
// As in sysctl(8) the first separator decides: after a dot, dots separate and a
// slash stands for the dot of an interface's name (net.ipv4.conf.wg0/1.mtu);
// after a slash it is the other way round. Only net. is ours, and nothing leads
// out of it.
func SysctlPath(key string) (string, error) {
	file := key
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		file = SwapSeparators(key)
	}
	parts := strings.Split(file, "/")
	if len(parts) < 3 || parts[0] != "net" {
		//lint:ignore ST1005 the dot is a part of the name
		return "", fmt.Errorf("%s is no sysctl of the network: it would begin with net.", shown(key))
	}
	for _, part := range parts {
		if part == "" || part == "." || part == ".." || len(part) > 255 || !spelled(part, "_=+.-:@") {
			return "", fmt.Errorf("%s is not spelled as sysctl(8) spells a key", shown(key))
		}
	}
	return file, nil
}

// CheckSysctl returns why a tunnel file cannot set key to val, nil if it can.
func CheckSysctl(key, val string) error {
	_, err := checkSysctl(key, val)
	return err
}

// checkSysctl returns the file of key, or why the key is refused.
func checkSysctl(key, val string) (string, error) {
	file, err := SysctlPath(key)
	switch {
	case err != nil:
		return "", err
	case forwards(file):
		return "", errForward
	case weakens(file, val):
		return "", fmt.Errorf("%s = %s weakens the whole host, whose own /etc/sysctl.d is the place for it", shown(key),
			shown(val))
	case val == "" || len(val) > 1024 || strings.ContainsFunc(val, unprintable):
		return "", fmt.Errorf("the value of %s is empty, too long or cannot be printed", shown(key))
	}
	return file, nil
}

// errForward refuses what forward = true sets, in the one order that keeps the default
// route of a host that learned it from router advertisements.
var errForward = errors.New("this sysctl belongs to forward")

// forwards reports whether forward sets a file under /proc/sys.
func forwards(file string) bool {
	parts := strings.Split(file, "/")
	last := parts[len(parts)-1]
	return file == "net/ipv4/ip_forward" ||
		len(parts) == 5 && parts[2] == "conf" && slices.Contains([]string{"forwarding", "force_forwarding", "accept_ra"},
			last)
}

// weakens reports whether a sysctl weakens the whole host, with its other interfaces and
// programs: whoever may change a tunnel file may route packets, but not that. Each is in
// the kernel's Documentation/networking/ip-sysctl.rst or
// Documentation/admin-guide/sysctl/net.rst.
func weakens(file, val string) bool {
	parts := strings.Split(file, "/")
	last := parts[len(parts)-1]
	off, on := val == "0", val != "0" && val != "-1"
	if len(parts) == 5 && parts[2] == "conf" {
		switch last {
		case "accept_source_route", "accept_redirects", "route_localnet", "disable_ipv6":
			return on
		case "secure_redirects":
			return off
		}
		return false
	}
	switch file {
	case "net/ipv4/ip_unprivileged_port_start", "net/ipv4/ping_group_range":
		return true
	case "net/ipv4/tcp_syncookies", "net/ipv4/icmp_echo_ignore_broadcasts":
		return off
	}
	return strings.HasPrefix(file, "net/core/bpf_")
}

// Weakening are the sysctls of a view that [View.Validate] refuses because they weaken the
// whole host, as KEY = VALUE, sorted. A view that an older wgkeys kept may have some.
func (v *View) Weakening() []string {
	var all []string
	for key, val := range v.Sysctls {
		if file, err := SysctlPath(key); err == nil && weakens(file, val) {
			all = append(all, key+" = "+val)
		}
	}
	slices.Sort(all)
	return all
}

// ValidateKept is [View.Validate] for a view that this host has kept. Refusing its sysctls
// now would leave the host without its tunnel at the next boot, and without a view to go
// back to.
func (v *View) ValidateKept() error {
	rest := *v
	rest.Sysctls = maps.Clone(v.Sysctls)
	maps.DeleteFunc(rest.Sysctls, func(key, val string) bool {
		file, err := SysctlPath(key)
		return err == nil && weakens(file, val)
	})
	return rest.Validate()
}
