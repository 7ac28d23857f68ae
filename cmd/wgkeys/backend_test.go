package main

import (
	"context"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/lab"
)

// A backend is which WireGuard the tunnels run on.
type backend string

const (
	kernelBackend   backend = "kernel"
	embeddedBackend backend = "embedded"
)

// backends are those that there are here.
func backends() []backend {
	if lab.HasWireGuard() {
		return []backend{kernelBackend, embeddedBackend}
	}
	return []backend{embeddedBackend}
}

// wireguardModule is where testdata/vm has it.
const wireguardModule = "/modules/wireguard.ko"

// use takes the kernel's WireGuard away for the test where the embedded device is
// wanted: then the program does what it does on every kernel without.
func (b backend) use(t *testing.T) {
	t.Helper()
	if b == kernelBackend || !lab.HasWireGuard() {
		return
	}
	if lab.Kernel() != "vm" {
		t.Skip("the machine's own kernel keeps its WireGuard")
	}
	// The namespaces of the test before it may still be going.
	err := lab.Until(t.Context(), "the kernel's WireGuard to be free", func(context.Context) (bool, error) {
		return unix.DeleteModule("wireguard", unix.O_NONBLOCK) == nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f, err := os.Open(wireguardModule)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
			t.Fatal(err)
		}
	})
}
