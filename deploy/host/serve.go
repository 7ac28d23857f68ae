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

// Serve answers the one request of a controller that in holds: a part of a rotation, or how
// this host stands.
func Serve(ctx context.Context, version string, in io.Reader, out io.Writer) error {
	return participant.Server{Version: version, Plan: planned}.Serve(ctx, in, out)
}

// planned tells what apply would do here, to a controller.
func planned(ctx context.Context, text []byte) *rotate.Planned {
	plan, err := status(ctx, text)
	switch {
	case err == nil:
		return &rotate.Planned{Steps: len(plan.Steps), Findings: plan.Findings}
	case errors.As(err, new(*apply.Refusal)): // of a tunnel that is up that is no lack of an answer
		return &rotate.Planned{Refused: fault.OneLine(err)}
	}
	return &rotate.Planned{Failed: fault.OneLine(err)}
}

func status(ctx context.Context, text []byte) (*apply.Plan, error) {
	view, err := tunnel.ParseView(text)
	if err != nil {
		return nil, err
	}
	return Status(ctx, view)
}

// Status is what apply would do here to have view, whatever waits to be confirmed. It
// changes nothing and waits for nobody.
func Status(ctx context.Context, view *tunnel.View) (*apply.Plan, error) {
	h, err := Look(Options{})
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return h.s.Plan(ctx, view)
}
