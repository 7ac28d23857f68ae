package remote

import (
	"context"
	"strings"

	"wgkeys/deploy/install"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
)

// Install has the program on a host.
func (h *Hosts) Install(ctx context.Context, t *tunnel.Tunnel, host string, o install.Options) (install.Result, error) {
	r := h.Runner(t, host)
	if c, ok := r.(*ssh.Client); ok {
		c.Args = []string{"-o", "Compression=yes"} // a program has less than half of its size then
	}
	o.Version = h.Version
	return install.Host(ctx, r, host, o)
}

// Boot has the program that was put on a host see to it that its tunnels come up at boot.
func (h *Hosts) Boot(ctx context.Context, t *tunnel.Tunnel, host string, flags []string) error {
	return h.run(ctx, t, host, append([]string{"install", "--placed"}, flags...), strings.NewReader(""), h.Stdout)
}

// Uninstall has the wgkeys of a host take itself away, and all that it did there.
func (h *Hosts) Uninstall(ctx context.Context, t *tunnel.Tunnel, host string, flags []string) error {
	return h.run(ctx, t, host, append([]string{"uninstall"}, flags...), strings.NewReader(""), h.Stdout)
}
