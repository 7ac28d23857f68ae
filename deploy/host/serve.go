package host

import (
	"context"
	"errors"
	"io"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/rotate/participant"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// Serve answers the request of a controller in in: about a rotation, or the status of this
// host.
func Serve(ctx context.Context, version string, in io.Reader, out io.Writer) error {
	return participant.Server{Version: version, Plan: planned}.Serve(ctx, in, out)
}

// planned returns what apply would do here, for a controller.
func planned(ctx context.Context, text []byte) *rotate.Planned {
	plan, err := status(ctx, text)
	switch {
	case err == nil:
		return &rotate.Planned{Steps: len(plan.Steps), Findings: plan.Findings}
	case errors.As(err, new(*apply.Refusal)): // a refusal is an answer, too
		return &rotate.Planned{Refused: fault.OneLine(err)}
	}
	unknown, _ := errors.AsType[tunnel.UnknownKeyError](err)
	return &rotate.Planned{Failed: fault.OneLine(err), Unknown: string(unknown)}
}

func status(ctx context.Context, text []byte) (*apply.Plan, error) {
	view, err := tunnel.ParseView(text)
	if err != nil {
		return nil, err
	}
	return statusOf(ctx, view, text)
}

// Status returns what apply would do here for view, even if an apply waits to be confirmed.
// It changes nothing and does not wait.
func Status(ctx context.Context, view *tunnel.View) (*apply.Plan, error) {
	return statusOf(ctx, view, nil)
}

// statusOf is [Status] of a view whose text may be known.
func statusOf(ctx context.Context, view *tunnel.View, text []byte) (*apply.Plan, error) {
	h, err := Look(Options{})
	if err != nil {
		return nil, err
	}
	defer h.Close()
	plan, err := h.s.Plan(ctx, view)
	if err == nil {
		findBoot(plan, text)
	}
	return plan, err
}
