package rotate

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A stall is a process that stands still in the middle of a step, and goes on later with
// what it knew before: the other one and the time go on.
type stall struct {
	until  time.Duration
	goOn   chan struct{}
	stands chan bool // the step stands still, or is over
}

// stepSlowly is [modelRun.step] of a process whose hook may call [stall.stand].
func (p *modelRun) stepSlowly(s *stall, next *time.Duration, r *Record, step func() (time.Duration, error)) {
	switch {
	case s.until > p.now || s.until == 0 && (r.Over() || p.now < *next):
		return
	case s.until > 0:
		s.until = 0
		s.goOn <- struct{}{}
	default:
		go func() {
			pause, err := step()
			if err != nil {
				pause = calm
			}
			*next = p.now + pause
			s.stands <- false
		}()
	}
	<-s.stands
}

// stand has the step that calls it stand still for so long.
func (s *stall) stand(now, long time.Duration) {
	s.until = now + long
	s.stands <- true
	<-s.goOn
}

// slowLooks is how many looks after each change are points: there is nothing new in further
// ones.
const slowLooks = 3

// TestSlow has the process of one of the hosts stand still at each of its changes, and at
// looks between them, from a second to longer than any of them waits: traffic flows again
// soon after it goes on, and both hosts agree.
func TestSlow(t *testing.T) {
	cases := 0
	for _, who := range []string{"switch", "watch"} {
		for _, long := range []time.Duration{time.Second, 3 * time.Second, 9 * time.Second, 12 * time.Second,
			18 * time.Second, 40 * time.Second, 90 * time.Second} {
			at := 1
			for ; slowAt(t, who, long, at); at++ {
			}
			cases += at - 1
		}
	}
	t.Logf("%d cases", cases)
}

// slowAt reports false if that point was not reached.
func slowAt(t *testing.T, who string, long time.Duration, at int) bool {
	p := newSlowRun()
	n, looks, what, healed := 0, 0, "", time.Duration(0)
	p.at(func(name, change string) time.Duration {
		if name != who || what != "" {
			return 0
		}
		if looks++; change != "look" {
			looks = 0
		}
		if looks > slowLooks {
			return 0
		}
		if n++; n != at {
			return 0
		}
		what, healed = change, p.now+long
		return long
	})
	for p.now < healed+15*time.Second || p.now < 4*time.Minute && !p.over() {
		p.run()
		if what != "" && p.now == healed+15*time.Second && !p.flows() {
			t.Errorf("%s slow for %v at %q (%d): nothing flows 15 s after it; switch %s, watch %s", who, long, what, at,
				p.sw.Record.Phase, p.watch.Record.Phase)
		}
	}
	if what == "" {
		return false
	}
	p.check(t, who+" slow for "+long.String()+" at "+what)
	return true
}

// TestSlowAtRandom has the processes stand still twice, each time either of them, at random:
// at the end all is well.
func TestSlowAtRandom(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7767))
		p := newSlowRun()
		p.bell = telling(seed % 3)
		left := 2
		p.at(func(_, change string) time.Duration {
			often := 5
			if change == "look" {
				often = 200
			}
			if left == 0 || rnd.IntN(often) > 0 {
				return 0
			}
			left--
			return time.Duration(rnd.IntN(40_000)) * time.Millisecond
		})
		for p.now < 5*time.Minute && !p.over() {
			p.run()
		}
		for range 20_000 {
			p.run()
		}
		if p.check(t, "at random"); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// A slowRun is a rotation in a model whose processes may stand still.
type slowRun struct {
	*modelRun
	steps  string // whose step it is
	stalls map[string]*stall
}

func newSlowRun() *slowRun {
	s := &slowRun{modelRun: newRun(newModel()), stalls: map[string]*stall{}}
	for _, name := range []string{"switch", "watch"} {
		s.stalls[name] = &stall{goOn: make(chan struct{}), stands: make(chan bool)}
	}
	return s
}

// at has a process stand still at a change, or a look, for as long as want says.
func (s *slowRun) at(want func(name, change string) time.Duration) {
	s.hook = func(change string) {
		name := s.steps
		if long := want(name, change); long > 0 {
			s.stalls[name].stand(s.now, long)
		}
	}
	s.sw.Tunnel, s.watch.Tunnel = slowLook{s.sw.Tunnel, s.hook}, slowLook{s.watch.Tunnel, s.hook}
}

func (s *slowRun) over() bool { return s.sw.Record.Over() && s.watch.Record.Over() }

// run lets a millisecond pass.
func (s *slowRun) run() {
	s.tick()
	s.steps = "switch"
	s.stepSlowly(s.stalls["switch"], &s.swNext, s.sw.Record, s.sw.step)
	if s.rings && s.stalls["watch"].until == 0 {
		s.watch.watchClosely()
		s.wtNext = s.now
	}
	s.rings = false
	s.steps = "watch"
	s.stepSlowly(s.stalls["watch"], &s.wtNext, s.watch.Record, s.watch.step)
}

// A slowLook is a tunnel after each look at which something can happen.
type slowLook struct {
	Tunnel
	hook func(string)
}

func (s slowLook) Look() (Live, error) {
	live, err := s.Tunnel.Look()
	s.hook("look")
	return live, err
}
