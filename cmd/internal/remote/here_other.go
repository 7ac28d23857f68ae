//go:build !linux

package remote

import (
	"context"
	"io"
	"runtime"

	"wgkeys/keyring/fault"
)

// Serve would answer the requests of a controller on this machine.
func Serve(context.Context, string, io.Reader, io.Writer) error {
	return fault.New("this machine cannot be a host:", runtime.GOOS, "hosts run Linux", "")
}

func answerHere(ctx context.Context, version string, _ []byte, _ io.Writer) error {
	return Serve(ctx, version, nil, nil)
}
