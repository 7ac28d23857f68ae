package labtest

import (
	"context"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/lab"
)

// A Backend is which WireGuard the tunnels run on.
type Backend string

// The backends: WireGuard in the kernel, and the device in user space that is in the program.
const (
	kernelBackend Backend = "kernel"
	Embedded      Backend = "embedded"
)

// Backends are those that there are here.
func Backends() []Backend {
	if lab.HasWireGuard() {
		return []Backend{kernelBackend, Embedded}
	}
	return []Backend{Embedded}
}

// wireguardModule is where testdata/vm has it.
const wireguardModule = "/modules/wireguard.ko"

// Use takes the kernel's WireGuard away for the test where the embedded device is
// wanted: then the program does what it does on every kernel without.
func (b Backend) Use(t *testing.T) {
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
