package tunnel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"wgkeys/keyring/fault"
)

// Hosts returns the names of the tunnel's hosts, sorted.
func (t *Tunnel) Hosts() []string { return namesOf(t.sorted) }

func namesOf(hosts []*host) []string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.name
	}
	return names
}

// host returns the host of this name.
func (t *Tunnel) host(name string) (*host, error) {
	if h, ok := t.hosts[name]; ok {
		return h, nil
	}
	if name == t.Name {
		return nil, aTunnel(name)
	}
	return nil, noSuchHost(name, path.Join(Dir, t.Name+ext)+" does not name it", t.nameOne(), t)
}

// noSuchHost is the error for a name that none of the tunnels has. What looks like a key, and
// is no host's public one, is not repeated.
func noSuchHost(name, why, hint string, tunnels ...*Tunnel) error {
	near := nearest(name, tunnels...)
	if said := shown(name); near == "" && said[0] == '(' {
		name = said
	}
	return fault.WrapHost(noSuch{errors.New(why + near)}, "no such host", name, hint)
}

// nearest names the host of one of the tunnels that somebody may have meant: one with a name
// like this, with this address INSIDE, or with this public key, of which other programs show
// the beginning alone.
func nearest(name string, tunnels ...*Tunnel) string {
	hosts := map[string]bool{}
	for _, t := range tunnels {
		for _, h := range t.sorted {
			hosts[h.name] = true
		}
	}
	if near := didYouMean(name, maps.Keys(hosts)); near != "" {
		return near
	}
	address, _, _ := strings.Cut(name, "/")
	inside, noAddress := netip.ParseAddr(address)
	for _, t := range tunnels {
		for _, h := range t.sorted {
			for _, a := range h.addresses.vals {
				if noAddress == nil && a.val.Addr() == inside {
					return ": did you mean " + strconv.Quote(h.name) + ", which has this address INSIDE?"
				}
			}
		}
		if t.HostOf == nil || noAddress == nil {
			continue
		}
		if host := t.HostOf(name); host != "" {
			return ": did you mean " + strconv.Quote(host) + ", whose public key it is?"
		}
	}
	return ""
}

// aTunnel is the error for the name of a tunnel where one of a host belongs: wg-quick(8) takes
// that of the tunnel.
func aTunnel(name string) error {
	return fault.WrapHost(noSuch{errors.New("it is the name of a tunnel: -t " + name)}, "no such host", name,
		"wgkeys show -t "+name)
}

// ErrNoSuch marks the error of a name, of a host or a tunnel, that nothing has.
var ErrNoSuch = errors.New("no such name")

// A noSuch is a reason with that mark.
type noSuch struct{ error }

func (n noSuch) Is(target error) bool { return target == ErrNoSuch }
func (n noSuch) Unwrap() error        { return n.error }

// nameOne lists the hosts, unless there are too many for a line.
func (t *Tunnel) nameOne() string {
	const many = 8
	if len(t.sorted) > many {
		return fmt.Sprintf("name one of the %d hosts of tunnel %s: grep hosts %s", len(t.sorted), t.Name,
			path.Join(Dir, t.Name+ext))
	}
	return "name one of " + strings.Join(t.Hosts(), ", ")
}

// SSH returns the destination of host for ssh(1): the one in the tunnel file, or the host's
// name. Explicit reports which.
func (t *Tunnel) SSH(host string) (dest string, explicit bool) {
	if h, ok := t.hosts[host]; ok && h.ssh.given() {
		return h.ssh.val, true
	}
	return host, false
}

// Unmanaged reports whether nobody logs in to the host.
func (t *Tunnel) Unmanaged(host string) bool {
	h, ok := t.hosts[host]
	return ok && h.unmanaged()
}

// RequireManaged returns an error, with a hint at what to do instead, for a host that
// nobody logs in to. For any other name it returns nil.
func (t *Tunnel) RequireManaged(host, hint string) error {
	if !t.Unmanaged(host) {
		return nil
	}
	at := t.hosts[host].managed.pos
	return fault.NewHost("nobody logs in to host", host, "it has managed = false in "+at.String(),
		hint+"; if it is to be managed, take that line out")
}

// PSKPairs returns the pairs of peers that share a preshared key, both names and all pairs
// sorted.
func (t *Tunnel) PSKPairs() [][2]string {
	if !somePSK(t) { // as in most tunnels: then not all pairs of a large tunnel are examined
		return nil
	}
	var pairs [][2]string
	for _, h := range t.sorted {
		for _, peer := range t.peers(h) {
			if h.name < peer.name && t.hasPSK(h, peer) {
				pairs = append(pairs, [2]string{h.name, peer.name})
			}
		}
	}
	return pairs
}

// KeyFiles returns the paths of the key files on host, by their names in the vault without
// ".age": "wg0.key" and one "wg0.PEER.psk" for each preshared key.
func (t *Tunnel) KeyFiles(host string) (map[string]string, error) {
	h, err := t.host(host)
	if err != nil {
		return nil, err
	}
	files := map[string]string{t.Name + ".key": t.privateKeyFile(h)}
	for _, peer := range t.peers(h) {
		if t.hasPSK(h, peer) {
			files[t.Name+"."+peer.name+".psk"] = t.pskFile(h, peer)
		}
	}
	return files, nil
}

func (t *Tunnel) privateKeyFile(h *host) string {
	if h.privateKeyFile.given() {
		return h.privateKeyFile.val
	}
	return path.Join("/etc/wireguard", t.Name+".key")
}

// pskFile returns the file on h of the preshared key with its peer.
func (t *Tunnel) pskFile(h, peer *host) string {
	if p := h.pair(peer.name); p.pskFile.given() {
		return p.pskFile.val
	}
	return path.Join(path.Dir(t.privateKeyFile(h)), t.Name+"."+peer.name+".psk")
}
