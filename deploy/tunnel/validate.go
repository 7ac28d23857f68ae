package tunnel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// Validate returns what is wrong with v. A view that [Tunnel.View] made is valid; one from
// a network, or from an older program, may not be. Validate is the last check before the
// kernel is changed.
func (v *View) Validate() error {
	err := errors.Join(v.checkHost(), v.checkPeers(), v.checkRoutes(), v.checkRest())
	if err != nil {
		return fault.WrapHost(err, "invalid view for host", v.Host, "")
	}
	return nil
}

// checkRest checks what there are few of.
func (v *View) checkRest() error {
	return errors.Join(v.checkThrough(), v.checkProxies(), v.checkNames(), v.checkSysctls())
}

func (v *View) checkThrough() error {
	seen := unique[netip.Prefix]{}
	var errs wrongs
	for _, n := range v.Through {
		errs.add(checkMasked(n))
		errs.add(seen.add(n, "prefix that is reached through it"))
	}
	return join(errs)
}

func (v *View) checkHost() error {
	errs := []error{
		CheckName(v.Tunnel),
		keyring.CheckHost(v.Host),
		checkPath(v.PrivateKeyFile),
		within("listen_port", v.ListenPort, 0, max16),
		within("table", v.Table, 0, max32),
		v.checkTable(),
	}
	if v.PublicKey.IsZero() {
		errs = append(errs, errors.New("the host has no public key"))
	}
	if v.MTU != 0 {
		errs = append(errs, within("mtu", v.MTU, minMTU4, max16))
	}
	seen := unique[netip.Addr]{}
	for _, a := range v.Addresses {
		errs = append(errs, checkAddress(a), seen.add(a.Addr(), "address"))
	}
	errs = append(errs, v.checkRemotes())
	return errors.Join(errs...)
}

// checkRemotes refuses a far end of anything else than a single address of the view.
func (v *View) checkRemotes() error {
	var errs wrongs
	for _, local := range slices.SortedFunc(maps.Keys(v.Remotes), netip.Addr.Compare) {
		if local.IsValid() && !slices.Contains(v.Addresses, single(local)) {
			errs.add(fmt.Errorf("%s has a far end and is no single address of the host", local))
			continue
		}
		errs.add(checkAddr(local))
		errs.add(checkRemote(local, v.Remotes[local]))
	}
	return join(errs)
}

// checkTable takes the main table for none: a view that an older program kept may have it.
func (v *View) checkTable() error {
	if v.Table == tableNone || v.Table == tableMain {
		return nil
	}
	return checkTable(v.Table)
}

func (v *View) checkPeers() error {
	names := make(unique[string], len(v.Peers)+1)
	keys := make(unique[keyring.PublicKey], len(v.Peers)+1)
	prefixes := make(unique[netip.Prefix], len(v.Peers))
	files := unique[string]{v.PrivateKeyFile: {}}
	names[v.Host], keys[v.PublicKey] = struct{}{}, struct{}{}
	var errs wrongs
	if !v.NextPublicKey.IsZero() {
		errs.add(addKey(keys, v.NextPublicKey, v.Host))
	}
	for i := range v.Peers {
		p := &v.Peers[i]
		errs.add(p.check())
		errs.add(names.add(p.Name, "name of a host"))
		errs.add(addKey(keys, p.PublicKey, p.Name))
		if !p.NextPublicKey.IsZero() {
			errs.add(addKey(keys, p.NextPublicKey, p.Name))
		}
		if p.PresharedKeyFile != "" {
			errs.add(files.add(p.PresharedKeyFile, "key file"))
		}
		for _, a := range p.AllowedIPs {
			errs.add(checkMasked(a))
			errs.add(prefixes.add(a, "allowed IP"))
		}
	}
	return errors.Join(errs...)
}

// check looks at what p can tell by itself.
func (p *Peer) check() error {
	var errs wrongs
	errs.add(keyring.CheckHost(p.Name))
	errs.add(within("keepalive", p.Keepalive, 0, max16))
	if p.PublicKey.IsZero() {
		errs.add(fmt.Errorf("peer %s has no public key", shown(p.Name)))
	}
	if p.PresharedKeyFile != "" {
		errs.add(checkPath(p.PresharedKeyFile))
	}
	if p.Endpoint != "" {
		errs.add(p.checkEndpoints())
	}
	return errors.Join(errs...)
}

func (p *Peer) checkEndpoints() error {
	var errs wrongs
	seen := unique[string]{}
	for spelled := range strings.SplitSeq(p.Endpoint, ",") {
		e, err := parseEndpoint(spelled)
		if err == nil && e.port == 0 {
			err = fmt.Errorf("endpoint %s has no port", shown(spelled))
		}
		errs.add(err)
		errs.add(seen.add(spelled, "endpoint"))
	}
	return join(errs)
}

func (v *View) checkRoutes() error {
	peers := make(map[string]bool, len(v.Peers))
	for i := range v.Peers {
		peers[v.Peers[i].Name] = true
	}
	seen := make(unique[netip.Prefix], len(v.Routes))
	var errs wrongs
	for i := range v.Routes {
		r := &v.Routes[i]
		errs.add(seen.add(r.Prefix, "route"))
		errs.add(r.check())
		if !peers[r.Peer] {
			errs.add(fmt.Errorf("route %s leads to %s, which is not a peer", r.Prefix, shown(r.Peer)))
		}
	}
	return errors.Join(errs...)
}

// check looks at what r can tell by itself.
func (r *Route) check() error {
	var errs wrongs
	errs.add(checkMasked(r.Prefix))
	errs.add(within("metric", r.Metric, 0, max32))
	if !r.Gateway.IsValid() {
		return errors.Join(errs...)
	}
	if err := checkAddr(r.Gateway); err != nil {
		errs.add(err)
	} else if r.Gateway.Is4() != r.Prefix.Addr().Is4() {
		errs.add(fmt.Errorf("route %s has a gateway of the other family", r.Prefix))
	}
	return errors.Join(errs...)
}

func (v *View) checkProxies() error {
	seen := unique[netip.Addr]{}
	var errs []error
	for _, a := range v.Proxies {
		errs = append(errs, checkAddr(a), seen.add(a, "proxy"))
		if !a.Is6() {
			errs = append(errs, fmt.Errorf("%s has no neighbour discovery to answer for", a))
		}
	}
	return errors.Join(errs...)
}

// checkNames checks what goes to the firewall and to the resolver.
func (v *View) checkNames() error {
	errs := []error{v.checkMasquerade()}
	for _, d := range v.DNS {
		errs = append(errs, checkDNS(d))
	}
	return errors.Join(errs...)
}

// checkMasquerade checks what goes to the firewall.
func (v *View) checkMasquerade() error {
	var errs wrongs
	for _, m := range v.Masquerade {
		errs.add(checkMasked(m))
	}
	seen := unique[string]{v.Tunnel: {}}
	for _, name := range v.MasqueradeBy {
		errs.add(checkUplink(name))
		errs.add(seen.add(name, "interface to masquerade by"))
	}
	return join(errs)
}

func (v *View) checkSysctls() error {
	seen := unique[string]{}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(v.Sysctls)) {
		file, err := checkSysctl(key, v.Sysctls[key])
		if err == nil {
			err = seen.add(file, "sysctl")
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// wrongs are the errors of a view: for ten thousand peers without errors, a list of as many
// nils would take longer than the checks.
type wrongs []error

func (w *wrongs) add(err error) {
	if err != nil {
		*w = append(*w, err)
	}
}

// unique holds what must be unique.
type unique[T comparable] map[T]struct{}

func (u unique[T]) add(v T, what string) error {
	before := len(u)
	if u[v] = struct{}{}; len(u) == before {
		return fmt.Errorf("the same %s is there twice: %s", what, shown(fmt.Sprint(v)))
	}
	return nil
}

// addKey names the host and not its key: in the place of a public one may be a private one.
func addKey(keys unique[keyring.PublicKey], key keyring.PublicKey, host string) error {
	if keys.add(key, "") != nil {
		return fmt.Errorf("the public key of %s is there twice", shown(host))
	}
	return nil
}

func (u unique[T]) has(v T) bool { _, ok := u[v]; return ok }

func within(what string, n, low, high int) error {
	if n < low || n > high {
		return fmt.Errorf("%s %d is not from %d to %d", what, n, low, high)
	}
	return nil
}
