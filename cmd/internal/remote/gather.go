package remote

import (
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// stalled is how long no answer may come until those that have are told: longer
// than the second look at a peer that may be dead takes.
const stalled = doubtFor + 2*time.Second

// A gathering is the answers of several hosts on their way. They are told in the
// order of the hosts, but one that keeps silent does not keep the others back.
type gathering struct {
	all      []*HostStatus
	begun    map[*HostStatus]bool
	known    map[*HostStatus]bool
	reported map[*HostStatus]bool
	tell     func(*HostStatus)
	waits    func(hosts []string) // hears of whom the others do not wait for any more
}

// gather has every host read, some at once, and tells of each as soon as it may.
func (g *gathering) gather(jobs int, read func(*HostStatus)) {
	g.begun, g.known, g.reported = map[*HostStatus]bool{}, map[*HostStatus]bool{}, map[*HostStatus]bool{}
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
			g.begun[s] = true
		case s, more := <-done:
			if !more {
				return
			}
			g.known[s] = true
			quiet.Reset(stalled)
			g.tellNext()
		case <-quiet.C:
			g.tellKnown()
		}
	}
}

// tellNext tells of the hosts whose turn it is: all before them were told, or are
// waited for no more.
func (g *gathering) tellNext() {
	for _, s := range g.all {
		if g.reported[s] {
			continue
		}
		if !g.known[s] || !s.clear() {
			return
		}
		g.say(s)
	}
}

// tellKnown tells of all that is known, and of whom nothing is.
func (g *gathering) tellKnown() {
	var silent []string
	for _, s := range g.all {
		switch {
		case g.reported[s]:
		case g.known[s] && s.clear():
			g.say(s)
		case g.begun[s] && !g.known[s]:
			silent = append(silent, s.Host)
		}
	}
	if len(silent) > 0 {
		g.waits(slices.Compact(silent))
	}
}

func (g *gathering) say(s *HostStatus) {
	g.reported[s] = true
	g.tell(s)
}

// clear reports whether nothing that other hosts answer can change what is found: a
// peer that does not answer is asked why.
func (s *HostStatus) clear() bool { return s.Err != nil || len(s.dead) == 0 }
