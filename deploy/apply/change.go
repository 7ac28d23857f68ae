package apply

import (
	"slices"

	"wgkeys/deploy/apply/journal"
)

// A Change takes one thing in the kernel from an old state to a new one.
type Change interface {
	Resource() journal.Resource // the thing's name in the journal
	Inverse() []Change          // the changes that undo it, in order
	String() string             // as a command of ip(8), wg(8) or sysctl(8)

	TouchesKernel() bool // it changes more than the journal

	// entries are what the journal, with its present entries known, has to contain once the
	// change is made; for a removal nothing. What the kernel sets as a side effect comes
	// first, so that the change itself is undone last.
	entries(known journal.Entries) []line

	// restores reports whether the change leaves the thing, whose entry is e, as it was
	// before us.
	restores(e journal.Entry, known journal.Entries) bool

	// trusted reports whether plans rely on the journal for what the change has set, because
	// the kernel cannot tell: then the entry is written after the change, not before.
	trusted() bool

	traits() traits
}

// traits are what all changes of a kind have in common.
type traits struct {
	batched  bool // consecutive changes of the kind may be made at once
	steers   bool // after it the kernel may send packets another way
	optional bool // a tunnel works without it
}

// A Step is a change and its reason.
type Step struct {
	Change Change
	Why    string
}

// subtract returns what a has and b does not.
func subtract[T comparable](a, b []T) []T {
	switch {
	case len(b) == 0:
		return a
	case slices.Equal(a, b): // of almost every peer of a plan
		return nil
	}
	if len(a)*len(b) <= 64 {
		return slices.DeleteFunc(slices.Clone(a), func(x T) bool { return slices.Contains(b, x) })
	}
	has := make(map[T]bool, len(b))
	for _, x := range b {
		has[x] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(x T) bool { return has[x] })
}

func verb(add bool) string {
	if add {
		return "add"
	}
	return "del"
}

// A line is what a change writes to the journal about one thing.
type line struct {
	resource journal.Resource
	journal.Entry
}

// made is the line of a thing that was not there before.
func made(c Change) []line { return []line{{c.Resource(), journal.Entry{Set: "made"}}} }
