package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// ApplyOptions say how to apply a view on another host.
type ApplyOptions struct {
	PlanOnly bool
	Unknown  bool          // also with keys that the host has replaced since
	Confirm  time.Duration // undone after this time, unless confirmed over a new connection; 0: it stays
}

// Apply sends the view to the host's wgkeys. Only the plain configuration is sent, no
// secret. The host undoes the apply by itself unless it is confirmed over a new connection,
// so that nobody gets locked out.
func (h *Hosts) Apply(ctx context.Context, t *tunnel.Tunnel, v *tunnel.View, o ApplyOptions) error {
	token, err := h.begin(ctx, t, v, o)
	if err != nil || token == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Confirm)
	defer cancel()
	return h.confirm(ctx, t, v.Host, token, o.Confirm)
}

// begin is the first part of [Hosts.Apply]. If the host waits for a confirmation it returns
// its token, and otherwise "". If the change has cut the connection, a new one finds out
// whether the host waits.
func (h *Hosts) begin(ctx context.Context, t *tunnel.Tunnel, v *tunnel.View, o ApplyOptions) (token string, err error) {
	args := []string{"apply", "--view", "-"}
	if o.PlanOnly {
		args[0] = "plan"
	}
	if o.Unknown {
		args = append(args, "--unknown")
	}
	args = asJSON(h, args)
	if o.PlanOnly || o.Confirm <= 0 {
		return "", h.run(ctx, t, v.Host, call{args: args, view: v})
	}
	token = rand.Text()
	heard, begun := &listener{w: h.Stdout}, false
	args = append(args, "--confirm", o.Confirm.String(), "--token", token)
	err = h.run(ctx, t, v.Host, call{args: args, view: v, stdout: heard, begun: &begun})
	var exit *ui.ExitError
	waits := errors.As(err, &exit) && exit.Code == ui.ExitWaits
	lost := errors.Is(err, ssh.ErrUnreachable) && (heard.any || begun && h.Quiet)
	if !waits && !lost {
		return "", err
	}
	return token, nil
}

// A listener records whether anything was ever heard. A host that has not shown its plan has
// nothing to confirm; one that shows none, for -q, may have from when wgkeys has begun there.
type listener struct {
	w   io.Writer
	any bool
}

func (l *listener) Write(p []byte) (int, error) {
	l.any = l.any || len(p) > 0
	return l.w.Write(p)
}

// confirm confirms an apply over a new connection: the one with this token, for which it
// waits up to the given time.
func (h *Hosts) confirm(ctx context.Context, t *tunnel.Tunnel, host, token string, wait time.Duration) error {
	err := h.run(ctx, t, host, call{args: []string{"confirm", "-t", t.Name, "--token", token}})
	if err != nil && wait > 0 && (errors.Is(err, ssh.ErrUnreachable) || ctx.Err() != nil) {
		return fault.WrapHost(err, "could not confirm the apply on host", host,
			fmt.Sprintf("if it was begun there, the host undoes it by itself within %v; then: %s", wait, t.Commands.Run("plan", host)))
	}
	return err
}

// ConfirmAny confirms the apply that waits on a host, if one does.
func (h *Hosts) ConfirmAny(ctx context.Context, t *tunnel.Tunnel, host string, own Own) error {
	return h.run(ctx, t, host, call{args: asJSON(h, []string{"confirm", "-t", t.Name}), own: own})
}

// Down makes a host undo its apply of a tunnel.
func (h *Hosts) Down(ctx context.Context, t *tunnel.Tunnel, host string, own Own, dry bool) error {
	args := []string{"down", "-t", t.Name}
	if dry {
		args = append(args, "-n")
	}
	return h.run(ctx, t, host, call{args: asJSON(h, args), own: own})
}

// asJSON adds --json to the arguments of a verb that has it, if this command has it, too.
func asJSON(h *Hosts, args []string) []string {
	if h.JSON {
		return append(args, "--json")
	}
	return args
}
