package tunnel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// Validate returns what is wrong with v. A view that [Tunnel.View] made is
// valid; one that came over a network, or from an older program, may not be.
// Validate is the last look before the kernel is touched.
func (v *View) Validate() error {
	err := errors.Join(v.checkHost(), v.checkPeers(), v.checkRoutes(), v.checkProxies(), v.checkNames(), v.checkSysctls())
	if err != nil {
		return fault.Wrap(err, "invalid view for host", v.Host, "")
	}
	return nil
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
	return errors.Join(errs...)
}

// checkTable takes the main table for none: a view that an older program kept
// may spell it so.
func (v *View) checkTable() error {
	if v.Table == tableNone || v.Table == tableMain {
		return nil
	}
	return checkTable(v.Table)
}

func (v *View) checkPeers() error {
	names := unique[string]{v.Host: true}
	keys := unique[keyring.PublicKey]{v.PublicKey: true}
	files := unique[string]{v.PrivateKeyFile: true}
	prefixes := unique[netip.Prefix]{}
	var errs []error
	for _, p := range v.Peers {
		errs = append(errs, p.check(),
			names.add(p.Name, "name of a host"), keys.add(p.PublicKey, "public key"))
		if p.PresharedKeyFile != "" {
			errs = append(errs, files.add(p.PresharedKeyFile, "key file"))
		}
		for _, a := range p.AllowedIPs {
			errs = append(errs, checkMasked(a), prefixes.add(a, "allowed IP"))
		}
	}
	return errors.Join(errs...)
}

// check looks at what p can tell by itself.
func (p *Peer) check() error {
	errs := []error{keyring.CheckHost(p.Name), within("keepalive", p.Keepalive, 0, max16)}
	if p.PublicKey.IsZero() {
		errs = append(errs, fmt.Errorf("peer %s has no public key", shown(p.Name)))
	}
	if p.PresharedKeyFile != "" {
		errs = append(errs, checkPath(p.PresharedKeyFile))
	}
	if p.Endpoint != "" {
		e, err := parseEndpoint(p.Endpoint)
		if err == nil && e.port == 0 {
			err = fmt.Errorf("endpoint %s has no port", shown(p.Endpoint))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (v *View) checkRoutes() error {
	peers := make(map[string]bool, len(v.Peers))
	for _, p := range v.Peers {
		peers[p.Name] = true
	}
	seen := unique[netip.Prefix]{}
	var errs []error
	for _, r := range v.Routes {
		errs = append(errs, checkMasked(r.Prefix), seen.add(r.Prefix, "route"), within("metric", r.Metric, 0, max32))
		if !peers[r.Peer] {
			errs = append(errs, fmt.Errorf("route %s leads to %s, which is no peer", r.Prefix, shown(r.Peer)))
		}
		if !r.Gateway.IsValid() {
			continue
		}
		if err := checkAddr(r.Gateway); err != nil {
			errs = append(errs, err)
		} else if r.Gateway.Is4() != r.Prefix.Addr().Is4() {
			errs = append(errs, fmt.Errorf("route %s has a gateway of the other family", r.Prefix))
		}
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

// checkNames looks at what goes to the firewall and to the resolver.
func (v *View) checkNames() error {
	var errs []error
	for _, m := range v.Masquerade {
		errs = append(errs, checkMasked(m))
	}
	for _, d := range v.DNS {
		errs = append(errs, checkDNS(d))
	}
	return errors.Join(errs...)
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

// unique holds what may be there once.
type unique[T comparable] map[T]bool

func (u unique[T]) add(v T, what string) error {
	if u[v] {
		return fmt.Errorf("the same %s is there twice: %s", what, shown(fmt.Sprint(v)))
	}
	u[v] = true
	return nil
}

func within(what string, n, low, high int) error {
	if n < low || n > high {
		return fmt.Errorf("%s %d is not from %d to %d", what, n, low, high)
	}
	return nil
}
