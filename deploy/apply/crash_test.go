package apply_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// copy returns a host as h is now, with journals of its own.
func (h *host) copy(t testing.TB) *host {
	t.Helper()
	c := &host{h.clone(), t.TempDir()}
	if err := os.CopyFS(c.dir, os.DirFS(h.dir)); err != nil {
		t.Fatal(err)
	}
	return c
}

// A trip is a way from one view to another, nil being no tunnel at all.
type trip struct {
	name     string
	from, to *tunnel.View
	forced   bool // on Linux 6.17 and later
}

func trips(t testing.TB) []trip {
	shale, basalt := firstUsers(t)
	list := []trip{{"shale from nothing", nil, shale, false}, {"basalt from nothing", nil, basalt, false},
		{"shale from nothing, forced", nil, shale, true}}
	for seed := range 12 {
		r := random(seed)
		list = append(list, trip{"random", applytest.View(r, "wg0"), applytest.View(r, "wg0"), seed%3 == 0})
	}
	return list
}

// start returns a host that is at the beginning of the trip, and how it was
// before wgkeys came.
func (w trip) start(t testing.TB) (*host, []string) {
	h := &host{newKernel(), t.TempDir()}
	if w.forced {
		h.canForce()
	}
	origin := h.dump()
	if w.from != nil {
		h.apply(t, w.from)
	}
	h.n = 0
	return h, origin
}

// points counts the changes of the trip.
func (w trip) points(t testing.TB) (n int, target []string) {
	h, _ := w.start(t)
	h.apply(t, w.to)
	return h.n, like(h.kernel, w.to)
}

var errStop = errors.New("stopped by the test")

// at returns a hook that calls f once, at one point.
func at(when moment, number int, f func() error) func(moment, int, apply.Change) error {
	return func(m moment, n int, _ apply.Change) error {
		if m == when && n == number {
			return f()
		}
		return nil
	}
}

func moments(n int, f func(when moment, number int)) {
	for number := 1; number <= n; number++ {
		f(before, number)
		f(after, number)
	}
}

// TestCrash kills apply before and after each change. From what it has written
// until then down finds back, and another apply goes on.
func TestCrash(t *testing.T) {
	points := 0
	for _, w := range trips(t) {
		n, target := w.points(t)
		moments(n, func(when moment, number int) {
			points++
			h, origin := w.start(t)
			h.hook = at(when, number, func() error { panic(errStop) })
			func() {
				defer func() {
					if recover() != errStop {
						t.Fatalf("%s: change %d was never made", w.name, number)
					}
				}()
				h.apply(t, w.to)
			}()
			h.hook = nil
			other := h.copy(t)
			h.down(t, "wg0")
			if d := diff(origin, h.dump()); d != "" {
				t.Errorf("%s: killed at change %d (after: %v), down leaves\n%s", w.name, number, when, d)
			}
			other.apply(t, w.to)
			if d := diff(target, like(other.kernel, w.to)); d != "" {
				t.Errorf("%s: killed at change %d (after: %v), apply makes\n%s", w.name, number, when, d)
			}
			other.down(t, "wg0")
			if d := diff(origin, other.dump()); d != "" {
				t.Errorf("%s: killed at change %d (after: %v), apply and down leave\n%s", w.name, number, when, d)
			}
		})
	}
	t.Logf("%d points of %d trips", points, len(trips(t)))
}

// TestTornJournal cuts the journal of a crash as a full or a failing disk does:
// in the middle of the lines that were being written.
func TestTornJournal(t *testing.T) {
	points := 0
	for _, w := range trips(t)[:4] {
		n, _ := w.points(t)
		for number := 1; number <= n; number++ {
			h, origin := w.start(t)
			path := filepath.Join(h.dir, "wg0.journal")
			whole := map[int]int{} // the size before each change's lines
			h.hook = func(m moment, n int, _ apply.Change) error {
				if m == before && n == number {
					panic(errStop)
				}
				if info, err := os.Stat(path); m == after && err == nil {
					whole[n+1] = int(info.Size())
				}
				return nil
			}
			func() {
				defer func() { recover() }()
				h.apply(t, w.to)
			}()
			h.hook = nil
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for size := max(whole[number], len(text)-40); size < len(text); size += 3 {
				points++
				torn := h.copy(t)
				if err := os.WriteFile(filepath.Join(torn.dir, "wg0.journal"), text[:size], 0o600); err != nil {
					t.Fatal(err)
				}
				torn.apply(t, w.to)
				torn.down(t, "wg0")
				if d := diff(origin, torn.dump()); d != "" {
					t.Fatalf("%s: torn at byte %d of change %d, apply and down leave\n%s", w.name, size, number, d)
				}
			}
		}
	}
	t.Logf("%d torn journals", points)
}

// now is how the host is, but for the endpoints that the view does not name:
// WireGuard has no way to take one away.
func (w trip) now(h *host) []string {
	if w.from == nil {
		return h.dump()
	}
	return like(h.kernel, w.from)
}

// fails checks what must hold when an apply could not be done: the host and
// the journal are as before it, and down is not kept from its work.
func (w trip) fails(t *testing.T, h *host, origin []string, say string) {
	t.Helper()
	old := w.now(h)
	_, err := h.tryApply(t, w.to)
	h.hook = nil
	if err == nil {
		w.leavesOut(t, h, origin, say)
		return
	}
	if d := diff(old, w.now(h)); d != "" {
		t.Errorf("%s: %s: %v; apply leaves\n%s", w.name, say, err, d)
	}
	if w.from != nil {
		if plan, _ := h.plan(t, w.from); len(plan.Steps) > 0 {
			t.Errorf("%s: %s: the way back was not all of it:\n%s", w.name, say, spelled(plan))
		}
	} else if files, _ := os.ReadDir(h.dir); len(files) > 0 {
		t.Errorf("%s: %s: a journal is left", w.name, say)
	}
	h.down(t, "wg0")
	if d := diff(origin, h.dump()); d != "" {
		t.Errorf("%s: %s: down leaves\n%s", w.name, say, d)
	}
}

// leavesOut checks what must hold when an apply was done but for what a tunnel works
// without: the next one has it again, and it alone.
func (w trip) leavesOut(t *testing.T, h *host, origin []string, say string) {
	t.Helper()
	plan, _ := h.plan(t, w.to)
	for _, s := range plan.Steps {
		if _, dns := s.Change.(apply.DNSChange); !dns {
			t.Errorf("%s: %s, there is no error, and the next plan has %s", w.name, say, s.Change)
		}
	}
	if len(plan.Steps) == 0 {
		t.Errorf("%s: %s, there is no error, and nothing to do", w.name, say)
	}
	h.down(t, "wg0")
	if d := diff(origin, h.dump()); d != "" {
		t.Errorf("%s: %s: down leaves\n%s", w.name, say, d)
	}
}

// TestFailure makes each change fail, once without it being made and once with.
func TestFailure(t *testing.T) {
	points := 0
	for _, w := range trips(t) {
		n, _ := w.points(t)
		moments(n, func(when moment, number int) {
			points++
			h, origin := w.start(t)
			h.hook = at(when, number, func() error { return errStop })
			w.fails(t, h, origin, fmt.Sprintf("change %d (after: %v) failed", number, when))
		})
	}
	t.Logf("%d points of %d trips", points, len(trips(t)))
}

// TestNotUndone: the error of an apply that could be neither finished nor undone says on
// which tunnel, and how to undo it later.
func TestNotUndone(t *testing.T) {
	w := trips(t)[0]
	h, _ := w.start(t)
	h.hook = func(m moment, number int, _ apply.Change) error {
		if m == before && number > 1 {
			return errStop
		}
		return nil
	}
	_, err := h.tryApply(t, w.to)
	const want = `could not undo all of it on tunnel "wg0"`
	if !errors.Is(err, apply.ErrIncomplete) || !strings.Contains(err.Error(), want) ||
		!slices.Contains(fault.Hints(err), "wgkeys down -t wg0") {
		t.Errorf("got %v, hints %q", err, fault.Hints(err))
	}
}

// TestInterrupt ends the context at each change: the next one is not begun.
func TestInterrupt(t *testing.T) {
	points := 0
	for _, w := range trips(t) {
		n, _ := w.points(t)
		for number := 1; number <= n; number++ {
			points++
			h, origin := w.start(t)
			old := w.now(h)
			ctx, cancel := context.WithCancel(t.Context())
			plan, j := h.plan(t, w.to)
			h.hook = at(after, number, func() error { cancel(); return nil })
			err := apply.Run(ctx, h.kernel, j, plan, func(apply.Step) {})
			h.hook = nil
			if err != nil { // else there was no further step
				if d := diff(old, w.now(h)); d != "" || !errors.Is(err, context.Canceled) {
					t.Errorf("%s: interrupted at change %d: %v\n%s", w.name, number, err, d)
				}
			}
			checkReopened(t, h, j)
			h.down(t, "wg0")
			if d := diff(origin, h.dump()); d != "" {
				t.Errorf("%s: interrupted at change %d, down leaves\n%s", w.name, number, d)
			}
		}
	}
	t.Logf("%d points", points)
}

func checkReopened(t *testing.T, h *host, j *journal.Journal) {
	t.Helper()
	again, _ := h.journal(t, "wg0")
	if d := cmp.Diff(j.Entries, again.Entries) + cmp.Diff(j.Order, again.Order, cmpEmpty); d != "" {
		t.Errorf("the journal read again differs (-memory +file):\n%s", d)
	}
}

// TestDiskFull: from some change on the journal cannot be written. The kernel
// is put back all the same.
func TestDiskFull(t *testing.T) {
	points := 0
	for _, w := range trips(t) {
		n, _ := w.points(t)
		for number := 1; number < n; number++ {
			h, _ := w.start(t)
			old := w.now(h)
			path := filepath.Join(h.dir, "wg0.journal")
			h.hook = at(after, number, func() error {
				return errors.Join(os.Rename(path, path+".kept"), os.Symlink("/dev/full", path))
			})
			_, err := h.tryApply(t, w.to)
			if err == nil { // nothing more was to be written
				continue
			}
			points++
			h.hook = nil
			if d := diff(old, w.now(h)); d != "" {
				t.Errorf("%s: the disk is full from change %d on: %v; apply leaves\n%s", w.name, number, err, d)
			}
		}
	}
	t.Logf("%d points", points)
}
