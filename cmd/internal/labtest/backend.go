package labtest

import (
	"context"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/lab"
)

// A Backend says which WireGuard the tunnels use.
type Backend string

// The backends: WireGuard in the kernel, and the userspace device in the program.
const (
	kernelBackend Backend = "kernel"
	Embedded      Backend = "embedded"
)

// Backends returns the backends that this machine has.
func Backends() []Backend {
	if lab.HasWireGuard() {
		return []Backend{kernelBackend, Embedded}
	}
	return []Backend{Embedded}
}

// wireguardModule is the path of the module in testdata/vm.
const wireguardModule = "/modules/wireguard.ko"

// Use makes the test use the backend. For the embedded one it unloads the kernel's
// WireGuard, so that the program behaves as on a kernel without it.
func (b Backend) Use(t *testing.T) {
	t.Helper()
	if b == kernelBackend || !lab.HasWireGuard() {
		return
	}
	if lab.Kernel() != "vm" {
		t.Skip("the machine's own kernel keeps its WireGuard")
	}
	// The namespaces of the previous test may still be going away.
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
