// Package apply makes a view true on the host it runs on, changes it later without
// interrupting traffic, and undoes it.
//
//	view + what the kernel has + what we made earlier  →  plan  →  steps
//
// A plan is a list of steps, made by the pure functions [Make] and [MakeDown] and printed
// before it is run. Each step takes one thing in the kernel from an old state to a new one,
// says why, and knows its inverse. If a view is true already the plan is empty.
//
// # Ownership
//
// Apply owns what it made and may remove it; it never deletes what it did not make. The
// journal, a file of the tunnel under /run/wgkeys, records both: for each thing touched,
// the value that it had before and the value that we gave it. The entry is written before
// the thing is touched, so after a crash at any moment the next apply continues from there,
// and down restores everything.
//
// # Order
//
// Add before remove, so that nothing that stays is without its route or its peer for a
// moment. The kernel's REPLACE flags are never used, since they leave a gap. The uplinks
// are made to keep accepting router advertisements before forwarding is turned on, and set
// back only after it is off.
//
// The package is pure over the small interface [Kernel], which package linux implements for
// the real kernel. It knows no vault and no repository.
package apply

import (
	"context"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// A Kernel is a host's network state, as far as a tunnel needs it.
type Kernel interface {
	// Observe reads the present state of everything in view and known, the journal. If view
	// is nil, only what is in the journal.
	Observe(ctx context.Context, name string, view *tunnel.View, known journal.Entries) (*State, error)

	// Do makes the changes in their order. Each is idempotent: if a thing is as wanted
	// already there is no error. If one fails, those before it are made and those after it
	// are not, except that changes of peers may be made as one.
	Do(ctx context.Context, changes []Change) error

	// LinkIndex returns the kernel's number of an interface, which stays the same when the
	// interface is renamed.
	LinkIndex(name string) (int, error)
}
