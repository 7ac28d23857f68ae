package remote

import (
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// stalled is the time without any answer after which the missing hosts are named: longer
// than the second look at a peer that may be dead.
const stalled = doubtFor + 2*time.Second

// A gathering collects the answers of several hosts.
type gathering struct {
	all   [][]*HostStatus      // of each the tunnels
	step  func(done, all int)  // called with the number of answers so far; may be nil
	waits func(hosts []string) // called with the hosts that have not answered
}

// gather calls read for every host, some at once.
func (g *gathering) gather(jobs int, read func(host []*HostStatus)) {
	asked, known := map[int]bool{}, map[int]bool{} // indices of all statuses
	begun, done := make(chan int), make(chan int)
	go func() {
		var group errgroup.Group
		group.SetLimit(jobs)
		for i, host := range g.all {
			group.Go(func() error {
				begun <- i
				read(host)
				done <- i
				return nil
			})
		}
		group.Wait()
		close(done)
	}()
	quiet := time.NewTimer(stalled)
	defer quiet.Stop()
	for {
		select {
		case i := <-begun:
			asked[i] = true
		case i, more := <-done:
			if !more {
				return
			}
			known[i] = true
			quiet.Reset(stalled)
			if g.step != nil {
				g.step(len(known), len(g.all))
			}
		case <-quiet.C:
			g.tellSilent(asked, known)
		}
	}
}

func (g *gathering) tellSilent(asked, known map[int]bool) {
	var silent []string
	for i, host := range g.all {
		if asked[i] && !known[i] {
			silent = append(silent, host[0].Host)
		}
	}
	if len(silent) > 0 {
		g.waits(slices.Compact(silent))
	}
}
