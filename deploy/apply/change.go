package apply

import (
	"slices"

	"wgkeys/deploy/apply/journal"
)

// A Change takes one thing in the kernel from an old state to a new one.
type Change interface {
	Resource() journal.Resource // the thing's name in the journal
	Inverse() []Change          // what undoes it, in order
	String() string             // as one would type it for ip(8), wg(8) or sysctl(8)

	TouchesKernel() bool // it changes more than the journal

	// entries are what the journal, of which known is what it says, has to say once
	// the change is made. A removal adds nothing. What the kernel sets along with it comes
	// first, so that the change itself is put back last.
	entries(known journal.Entries) []line

	// restores reports whether the change leaves the thing, whose entry is e, as it was
	// before us.
	restores(e journal.Entry, known journal.Entries) bool

	// trusted reports whether plans take the journal's word for what the change has set,
	// because the kernel cannot tell: it is written when it is so, not before.
	trusted() bool

	traits() traits
}

// traits are what all changes of one kind have in common.
type traits struct {
	batched  bool // neighbouring changes of the kind may be made at once
	steers   bool // after it the kernel may send packets another way
	optional bool // a tunnel works without it
}

// A Step is a change and its reason.
type Step struct {
	Change Change
	Why    string
}

// subtract returns what a has and b has not.
func subtract[T comparable](a, b []T) []T {
	switch {
	case len(b) == 0:
		return a
	case slices.Equal(a, b): // almost every peer of a plan
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

// A line is what a change has the journal say of one thing.
type line struct {
	resource journal.Resource
	journal.Entry
}

// made is the line of a thing that was not there before.
func made(c Change) []line { return []line{{c.Resource(), journal.Entry{Set: "made"}}} }
