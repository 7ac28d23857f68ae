package keys

import (
	"context"
	"slices"
	"sync"

	"wgkeys/deploy/push"
	"wgkeys/deploy/tunnel"
)

// Two names of hosts may lead to one machine: an alias in ssh_config(5), a name and an address.
// Only the machine can tell. Each of the two hosts has a key of its own there, for which there is
// one file, and each push would replace the other's.

// places are the files on machines that hosts have their private keys in.
type places struct {
	mu    sync.Mutex
	owner map[[2]string]string // by machine and path
}

// take returns the host that has the place already; "" if this one has it now.
func (p *places) take(machine, path, host string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := [2]string{machine, path}
	if other, ok := p.owner[at]; ok && other != host {
		return other
	}
	p.owner[at] = host
	return ""
}

// onMachine refuses a machine where f is the file of another host of t. Only if the key that is
// there is not the host's own, its owner is looked up, which reads all keys of the repository.
func (p *pusher) onMachine(ctx context.Context, t *tunnel.Tunnel, host string,
	f push.File) func(machine, has string) error {
	return func(machine, has string) error {
		other := ""
		if has != "" && has != f.Want && has != f.Next {
			other = p.past.OtherHost(host, has)
		}
		if other == "" || !p.sameFile(t, other, f.Path) ||
			push.Machine(ctx, p.maker.Hosts.Runner(t, other), other) != machine { // its disk was copied
			other = p.places.take(machine, f.Path, host)
		}
		if other == "" || !p.sameFile(t, other, f.Path) {
			return nil
		}
		return tunnel.OneMachine(t, host, other)
	}
}

// sameFile reports whether a host of t, too, has its private key at path.
func (p *pusher) sameFile(t *tunnel.Tunnel, host, path string) bool {
	if !slices.Contains(t.Hosts(), host) || t.Unmanaged(host) {
		return false
	}
	paths, err := t.KeyFiles(host)
	return err == nil && paths[t.Name+".key"] == path
}
