// Package apply makes a view true on the host it runs on, changes it later
// without breaking what flows through it, and undoes it.
//
//	view + what the kernel has + what we made earlier  →  plan  →  steps
//
// A plan is a list of steps, made by the pure functions [Make] and [MakeDown]
// and printed before it is run. Each step takes one thing in the kernel from
// an old state to a new one, says why, and knows its inverse. A view that is
// true already has an empty plan.
//
// # Whose is what
//
// What apply made it owns and may remove; what it did not make it never
// deletes. The journal, a file of the tunnel under /run/wgkeys, remembers both:
// for each thing touched, the value it had before and the value we gave it. The
// entry is written before the thing is touched, so after a crash at any moment
// the next apply goes on from there, and down puts everything back.
//
// # Order
//
// Add before remove, so that nothing that stays is ever without its route or
// its peer. The kernel's REPLACE flags are never used: they leave a gap. Router
// advertisements are secured on the uplinks before forwarding is turned on, and
// given up only after it is off.
//
// The package is pure over the small interface [Kernel]; package linux is the
// real one. It knows no vault and no repository.
package apply

import (
	"context"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// A Kernel is a host's network, as much of it as a tunnel needs.
type Kernel interface {
	// Observe reads what the kernel has of all that view and known, the journal, speak
	// of. A nil view asks for what the journal speaks of alone.
	Observe(ctx context.Context, name string, view *tunnel.View, known journal.Entries) (*State, error)

	// Do makes the changes in their order. Each is idempotent: a thing that
	// is as wanted already is no error. If one fails, those before it are
	// made and those after it are not, except that changes of peers may be
	// made as one.
	Do(ctx context.Context, changes []Change) error

	// LinkIndex returns the number that the kernel gave an interface, by which
	// it is known again whoever renames it.
	LinkIndex(name string) (int, error)
}
