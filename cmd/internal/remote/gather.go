package remote

import (
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// stalled is how long no answer may come until a person hears of whom one is missing:
// longer than the second look at a peer that may be dead takes.
const stalled = doubtFor + 2*time.Second

// A gathering is the answers of several hosts on their way.
type gathering struct {
	all   []*HostStatus
	step  func(done, all int)  // hears how many have answered; nil: nobody
	waits func(hosts []string) // hears who was asked and keeps silent
}

// gather has every host read, some at once.
func (g *gathering) gather(jobs int, read func(*HostStatus)) {
	asked, known := map[*HostStatus]bool{}, map[*HostStatus]bool{}
	begun, done := make(chan *HostStatus), make(chan *HostStatus)
	go func() {
		var group errgroup.Group
		group.SetLimit(jobs)
		for _, s := range g.all {
			group.Go(func() error {
				begun <- s
				read(s)
				done <- s
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
		case s := <-begun:
			asked[s] = true
		case s, more := <-done:
			if !more {
				return
			}
			known[s] = true
			quiet.Reset(stalled)
			if g.step != nil {
				g.step(len(known), len(g.all))
			}
		case <-quiet.C:
			g.tellSilent(asked, known)
		}
	}
}

func (g *gathering) tellSilent(asked, known map[*HostStatus]bool) {
	var silent []string
	for _, s := range g.all {
		if asked[s] && !known[s] {
			silent = append(silent, s.Host)
		}
	}
	if len(silent) > 0 {
		g.waits(slices.Compact(silent))
	}
}
