package remote

import (
	"context"

	"wgkeys/deploy/install"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
)

// Install installs the program on a host.
func (h *Hosts) Install(ctx context.Context, t *tunnel.Tunnel, host string, o install.Options) (install.Result, error) {
	r := h.Runner(t, host)
	if c, ok := r.(*ssh.Client); ok {
		c.Args = []string{"-o", "Compression=yes"} // compressed, a program has less than half of its size
	}
	o.Version = h.Version
	return install.Host(ctx, r, host, o)
}

// Boot makes the program that was installed on a host bring its tunnels up at boot.
func (h *Hosts) Boot(ctx context.Context, t *tunnel.Tunnel, host string, flags []string) error {
	return h.run(ctx, t, host, call{args: append([]string{"install", "--placed"}, flags...)})
}

// Uninstall makes a host's wgkeys remove itself, and everything that it did there. It reports
// whether that was begun, which an error does not tell: the connection may be lost later.
func (h *Hosts) Uninstall(ctx context.Context, t *tunnel.Tunnel, host string, own Own,
	flags []string) (begun bool, err error) {
	err = h.run(ctx, t, host, call{args: append([]string{"uninstall"}, flags...), own: own, begun: &begun})
	return begun, err
}
