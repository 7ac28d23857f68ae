package tunnel

import "fmt"

// reach checks what the tunnel file says of a host that others cannot log in to, or reach
// at an address that is not in the file.
func (l *linter) reach(h *host) {
	if h.unmanaged() && h.ssh.given() {
		l.add(h.ssh.pos, "take ssh = or managed = false out", "host %q is not managed, in %s: nobody logs in to it by ssh",
			h.name, h.managed.pos)
	}
	switch {
	case !h.reachable.given():
	case !h.reachable.val && h.endpoint.given():
		l.add(h.reachable.pos, "take endpoint = or reachable = false out",
			"host %q is not reachable, but has an endpoint in %s", h.name, h.endpoint.pos)
	case h.reachable.val && l.t.listenPortOf(h) == 0:
		l.add(h.reachable.pos, "write listen_port = under [hosts."+h.name+"]",
			"host %q is reachable at an unknown port: listen_port 0 lets the kernel choose one", h.name)
	case h.reachable.val && !h.endpoint.given():
		l.unreached(h)
	}
}

// unreached refuses a peer that is to begin with h, and does not know where h is: only
// an unmanaged one may know it by itself.
func (l *linter) unreached(h *host) {
	for _, o := range l.t.peers(h) {
		knows := haveEndpoint(h, o) || o.unmanaged() || h.unmanaged() && o.reachable.val
		if knows || o.reachable.val && o.name < h.name { // reported for the other one
			continue
		}
		l.add(o.pos, fmt.Sprintf("write endpoint = under [hosts.%s], or under [hosts.%s.peer.%[1]s]", h.name, o.name),
			"host %q has no endpoint for its peer %q, whose reachable = true in %s does not say where it is",
			o.name, h.name, h.reachable.pos)
	}
}

// comes checks a pair without any endpoint, of a list: the unmanaged host of the two has
// to come to the other one, at a port that it can know.
func (l *linter) comes(at pos, a, b *host) {
	if a.unmanaged() {
		a, b = b, a
	}
	if l.t.listenPortOf(a) == 0 && !first(a.listenPort, l.t.listenPort).given() {
		l.add(at, fmt.Sprintf("write reachable = true or listen_port = under [hosts.%s]", a.name),
			"neither %q nor %q has an endpoint, and the port that %[2]q would come to is the kernel's choice", a.name, b.name)
	}
}
