package tunnel

import (
	"fmt"

	"wgkeys/keyring/fault"
)

// SameKeyFile returns hosts, each with another one, whose private keys would be installed in
// one place: they have the same ssh destination, as where the lines of one were copied for
// the other, and the same path for the key.
func SameKeyFile(t *Tunnel) map[string]string {
	type place struct{ dest, file string }
	first, all := make(map[place]string, len(t.sorted)), map[string]string{}
	for _, h := range t.sorted {
		if h.unmanaged() {
			continue
		}
		dest, _ := t.SSH(h.name)
		p := place{dest, t.privateKeyFile(h)}
		if other, taken := first[p]; taken {
			all[h.name], all[other] = other, h.name
			continue
		}
		first[p] = h.name
	}
	return all
}

// OneKeyFile is the error of two of these hosts, about the first.
func OneKeyFile(t *Tunnel, host, other string) *fault.Fault {
	dest, _ := t.SSH(host)
	return oneKeyFile(t, host, other, "ssh reaches both by "+dest, "")
}

// OneMachine is the error of two hosts, about the first, that have turned out to be one machine.
func OneMachine(t *Tunnel, host, other string) *fault.Fault {
	return oneKeyFile(t, host, other, "both names lead to one machine",
		"; if there is but one machine: take one of the two out of "+Dir+"/"+t.Name+ext)
}

func oneKeyFile(t *Tunnel, host, other, why, otherwise string) *fault.Fault {
	return fault.NewHost(fmt.Sprintf("two hosts of tunnel %s would keep their keys in one file: %s and", t.Name, other),
		host, fmt.Sprintf("%s, and both have %s", why, t.privateKeyFile(t.hosts[host])),
		"write another ssh = under [hosts."+host+"] or [hosts."+other+"]"+otherwise)
}
