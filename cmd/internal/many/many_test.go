package many_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wgkeys/cmd/internal/many"
)

func hosts(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("h%02d", i))
	}
	return all
}

// TestJobs: three hosts are served at once and no more, and the outcomes are in order.
func TestJobs(t *testing.T) {
	var mu sync.Mutex
	at, most := 0, 0
	all := make(chan struct{})
	w := many.Work{Hosts: hosts(12), Jobs: 3, Do: func(h string) error {
		mu.Lock()
		at++
		if most = max(most, at); at == 3 && most == 3 {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		mu.Unlock()
		<-all // three are under way at one moment
		mu.Lock()
		at--
		mu.Unlock()
		if h == "h05" {
			return errors.New("broken")
		}
		return nil
	}}
	heard := 0
	w.Done = func(many.Outcome) { heard++ }
	s := many.Sum(w.Run())
	if most != 3 || heard != 12 {
		t.Errorf("%d at once, and %d were heard of", most, heard)
	}
	if d := cmp.Diff([]string{"h05"}, s.Failed); d != "" || len(s.Done) != 11 || !slices.IsSorted(s.Done) {
		t.Errorf("%s\n%v", d, s.Done)
	}
}

// TestStopAfter: after two failures no more hosts are begun, and those under way are
// finished.
func TestStopAfter(t *testing.T) {
	w := many.Work{Hosts: hosts(20), Jobs: 1, StopAfter: 2, Do: func(h string) error {
		if h == "h03" || h == "h05" || h == "h07" {
			return errors.New("broken")
		}
		return nil
	}}
	s := many.Sum(w.Run())
	if got := strings.Join(s.Failed, " "); got != "h03 h05" || len(s.Done) != 4 || len(s.NotBegun) != 14 {
		t.Errorf("failed %s, done %v, not begun %v", got, s.Done, s.NotBegun)
	}
}

// TestStop: after a signal no more hosts are begun.
func TestStop(t *testing.T) {
	stop := make(chan struct{})
	var once sync.Once
	w := many.Work{Hosts: hosts(20), Jobs: 2, Stop: stop, Do: func(h string) error {
		if h == "h04" {
			once.Do(func() { close(stop) })
		}
		return nil
	}}
	s := many.Sum(w.Run())
	if len(s.Failed) != 0 || len(s.Done) < 5 || len(s.Done) > 8 || len(s.Done)+len(s.NotBegun) != 20 {
		t.Errorf("done %v, not begun %v", s.Done, s.NotBegun)
	}
}

// TestBatch: each batch is settled before the next one is begun, which it is not if a host
// failed.
func TestBatch(t *testing.T) {
	var order []string
	w := many.Work{Hosts: hosts(7), Jobs: 1, Batch: 3, StopAfter: 1,
		Do: func(h string) error { order = append(order, h); return nil },
		Settle: func(hosts []string) map[string]error {
			order = append(order, "settled "+strings.Join(hosts, ","))
			if slices.Contains(hosts, "h04") {
				return map[string]error{"h04": errors.New("no handshake")}
			}
			return nil
		},
	}
	s := many.Sum(w.Run())
	want := []string{"h00", "h01", "h02", "settled h00,h01,h02", "h03", "h04", "h05", "settled h03,h04,h05"}
	if d := cmp.Diff(want, order); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(many.Summary{Done: []string{"h00", "h01", "h02", "h03", "h05"}, Failed: []string{"h04"},
		NotBegun: []string{"h06"}}, s,
		cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Errs" }, cmp.Ignore())); d != "" {
		t.Error(d)
	}
}
