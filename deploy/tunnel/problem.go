package tunnel

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"wgkeys/keyring/fault"
)

// A source is one file of a tunnel. The main file has order 0, its drop-ins follow in the
// order in which they are merged.
type source struct {
	name  string
	order int
}

// A pos is the place of a value. The zero pos means that the value is not given.
type pos struct {
	src  *source
	line int
}

func (p pos) given() bool { return p.src != nil }

func (p pos) String() string { return p.src.name + ":" + strconv.Itoa(p.line) }

func (p pos) compare(q pos) int {
	return cmp.Or(cmp.Compare(p.src.order, q.src.order), cmp.Compare(p.line, q.line))
}

// A value is a setting and where it was set.
type value[T any] struct {
	val T
	pos
}

// first returns the first value that is given: the most specific one.
func first[T any](values ...value[T]) value[T] {
	for _, v := range values {
		if v.given() {
			return v
		}
	}
	return value[T]{}
}

// problems are the errors of a tunnel, reported together: a limited number of them, since a
// file of another kind may have one in each of a million lines.
type problems struct {
	list []problem
	more int
}

type problem struct {
	pos
	fault *fault.Fault
}

func (p *problems) add(at pos, hint, format string, args ...any) {
	if len(p.list) == maxErrors {
		p.more++
		return
	}
	f := fault.NewLine("invalid tunnel file", at.src.name, at.line, fmt.Sprintf(format, args...), hint)
	p.list = append(p.list, problem{at, f})
}

// join adds problems that were found after those of p.
func (p *problems) join(later *problems) {
	room := min(maxErrors-len(p.list), len(later.list))
	p.list = append(p.list, later.list[:room]...)
	p.more += later.more + len(later.list) - room
}

// err returns all problems in the order of the files' lines, or nil.
func (p *problems) err() error {
	slices.SortStableFunc(p.list, func(a, b problem) int { return a.compare(b.pos) })
	errs := make([]error, len(p.list))
	for i, problem := range p.list {
		errs[i] = problem.fault
	}
	if p.more > 0 {
		errs = append(errs, fmt.Errorf("and %d more errors", p.more))
	}
	return join(errs)
}

// join is [errors.Join], but leaves a single error as it is.
func join(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
