package remote

import (
	"bytes"
	"context"
	"io"

	"wgkeys/deploy/host"
)

// answerHere answers a controller's request on this machine.
func answerHere(ctx context.Context, version string, question []byte, said io.Writer) error {
	return host.Serve(ctx, version, bytes.NewReader(question), said)
}
