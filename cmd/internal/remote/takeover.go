package remote

import (
	"context"

	"wgkeys/deploy/tunnel"
)

// TakeOver makes a host take over the tunnel that runs there.
func (h *Hosts) TakeOver(ctx context.Context, t *tunnel.Tunnel, v *tunnel.View, dry bool) error {
	args := []string{"import", "--take-over", "--view", "-"}
	if dry {
		args = append(args, "--dry-run")
	}
	return h.run(ctx, t, v.Host, call{args: args, view: v})
}

// GiveBack makes a host give a tunnel back to the program from which it was taken over.
func (h *Hosts) GiveBack(ctx context.Context, t *tunnel.Tunnel, host string, own Own, dry bool) error {
	args := []string{"import", "--undo", "-t", t.Name}
	if dry {
		args = append(args, "--dry-run")
	}
	return h.run(ctx, t, host, call{args: args, own: own})
}
