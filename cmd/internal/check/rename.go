package check

import (
	"slices"
)

// hintRename extends hints that would make another key, or remove one. If one host has no
// public key, and no tunnel names another one, they may be the same host, whose name
// somebody has changed in the tunnel file: then the hint also says how to keep the key.
func (c *checker) hintRename() {
	lacking := c.lackingKey()
	if len(lacking) != 1 {
		return
	}
	orphaned := c.orphanedHosts()
	if len(orphaned) != 1 {
		return
	}
	from, to := orphaned[0], lacking[0]
	if slices.ContainsFunc(c.found, func(f Finding) bool { return f.mayBe(to, from) }) {
		from, to = to, from // the folders were renamed, and not the host in the tunnel file
	}
	for i := range c.found {
		f := &c.found[i]
		if f.mayBeRenamed() {
			continue // its own hint says so
		}
		if f.Check == "key" && f.Host == lacking[0] || f.Check == "orphaned" && f.Host == orphaned[0] {
			f.Hint = "if " + from + " is to be called " + to + ": wgkeys mv " + from + " " + to + "; else: " + f.Hint
		}
	}
}

// mayBe reports whether a file made for host from is in the folder of host to.
func (f Finding) mayBe(from, to string) bool {
	if f.moved == nil {
		return false
	}
	was, is, ok := f.moved.Hosts()
	return ok && was == from && is == to
}

// mayBeRenamed reports whether a file may belong to a renamed host or tunnel.
func (f Finding) mayBeRenamed() bool {
	if f.moved == nil {
		return false
	}
	_, _, hosts := f.moved.Hosts()
	_, _, tunnels := f.moved.Tunnels()
	return hosts || tunnels
}

// lackingKey returns hosts of tunnel files that have no public key, two at most.
func (c *checker) lackingKey() (hosts []string) {
	for _, h := range c.hosts {
		if h.lacks && !slices.Contains(hosts, h.host) {
			hosts = append(hosts, h.host)
		}
		if len(hosts) > 1 {
			break
		}
	}
	return hosts
}

// orphanedHosts returns hosts that have keys and that no tunnel file names.
func (c *checker) orphanedHosts() (hosts []string) {
	named := map[string]bool{}
	for _, h := range c.hosts {
		named[h.host] = true
	}
	for _, f := range c.found {
		if f.Check == "orphaned" && f.Host != "" && !named[f.Host] && !slices.Contains(hosts, f.Host) {
			hosts = append(hosts, f.Host)
		}
	}
	return hosts
}
