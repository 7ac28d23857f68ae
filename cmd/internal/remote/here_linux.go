package remote

import (
	"bytes"
	"context"
	"io"

	"wgkeys/deploy/host"
)

// answerHere answers a controller's request on this machine.
func answerHere(ctx context.Context, version string, question []byte, said io.Writer) error {
	return Serve(ctx, version, bytes.NewReader(question), said)
}

// Serve answers the requests of a controller on this machine, one after the other.
func Serve(ctx context.Context, version string, in io.Reader, out io.Writer) error {
	return host.Serve(ctx, version, in, out)
}
