package sysctl

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// Observe reads the parameters that the view and the journal have, and those that the
// kernel changes together with forwarding.
func (r *Root) Observe(name string, s *apply.State, view *tunnel.View, entries journal.Entries) error {
	want, err := r.wanted(name, s, view, entries)
	if err != nil {
		return err
	}
	for key := range want {
		value, err := r.Read(key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		s.Sysctls[key] = strings.Join(strings.Fields(value), " ")
	}
	return nil
}

// wanted returns the keys of the parameters that a plan may look at.
func (r *Root) wanted(name string, s *apply.State, view *tunnel.View,
	entries journal.Entries) (map[string]bool, error) {
	want := map[string]bool{
		"net/ipv4/conf/all/send_redirects": true,
		"net/ipv4/conf/all/src_valid_mark": true,
		"net/ipv4/tcp_fwmark_accept":       true,
	}
	for resource := range entries {
		if resource.Kind == journal.Sysctl {
			want[resource.Name] = true
		}
	}
	if view != nil {
		for key := range view.Sysctls {
			if file, err := tunnel.SysctlPath(key); err == nil {
				want[file] = true
				// what a new link starts with
				want[strings.Replace(file, "/"+name+"/", "/default/", 1)] = true
			}
		}
	}
	forward := view != nil && view.Forward
	router := entries.Has(journal.Sysctl.Of("net/ipv6/conf/all/forwarding")) ||
		entries.Has(journal.Sysctl.Of("net/ipv6/conf/default/force_forwarding"))
	if forward || router {
		keys, err := r.forwardingKeys()
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			// Undoing what made the host a router resets everybody's force_forwarding, and
			// interfaces that came later have it from the default.
			if forward || path.Base(key) == "force_forwarding" {
				want[key] = true
			}
		}
	}
	for _, u := range s.Uplinks {
		want["net/ipv6/conf/"+u.Name+"/proxy_ndp"] = true
	}
	return want, nil
}

// forwardingKeys returns the parameters that turn on forwarding, and those of every
// interface that the kernel sets together with them.
func (r *Root) forwardingKeys() ([]string, error) {
	keys := []string{"net/ipv4/ip_forward", "net/ipv4/conf/all/accept_redirects"}
	for _, family := range []string{"net/ipv4/conf", "net/ipv6/conf"} {
		interfaces, err := fs.ReadDir(r.root.FS(), family)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without that family
		}
		if err != nil {
			return nil, err
		}
		for _, i := range interfaces {
			keys = append(keys, path.Join(family, i.Name(), "forwarding"))
			if family == "net/ipv6/conf" {
				keys = append(keys, path.Join(family, i.Name(), "accept_ra"), path.Join(family, i.Name(), "force_forwarding"))
			}
		}
	}
	return keys, nil
}
