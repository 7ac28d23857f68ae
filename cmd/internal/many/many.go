// Package many has the same thing done on several hosts: some at once, in batches where
// that is asked for, until enough have failed or the person has seen enough.
package many

import "sync"

// DefaultJobs is how many hosts are worked on at once where nothing else is asked for:
// sshd lets 10 in that are not authenticated yet (MaxStartups in sshd_config(5)).
const DefaultJobs = 8

// A Work is what is done on each of several hosts. A host that fails stops no other, but
// for what StopAfter says.
type Work struct {
	Hosts     []string
	Jobs      int             // so many at once; 0: [DefaultJobs]
	Batch     int             // so many are settled before the next are begun; 0: all
	StopAfter int             // after so many failures no more are begun; 0: never
	Stop      <-chan struct{} // no more are begun once it is closed; nil: never

	Do func(host string) error

	// Settle looks at the hosts of a batch that Do has succeeded on, and returns what is
	// wrong with some of them: they have failed then. nil: nothing can be.
	Settle func(hosts []string) map[string]error

	// Done hears of each host as soon as nothing more comes of it, one at a time; nil:
	// nobody.
	Done func(Outcome)
}

// An Outcome is what became of one host.
type Outcome struct {
	Host  string
	Begun bool
	Err   error
}

// Run works, and returns the outcomes in the order of the hosts.
func (w *Work) Run() []Outcome {
	r := &running{Work: w, outcomes: make([]Outcome, len(w.Hosts))}
	for i, h := range w.Hosts {
		r.outcomes[i].Host = h
	}
	size := w.Batch
	if size <= 0 {
		size = len(w.Hosts)
	}
	for at := 0; at < len(w.Hosts); at += size {
		r.batch(r.outcomes[at:min(at+size, len(w.Hosts))])
	}
	return r.outcomes
}

type running struct {
	*Work
	outcomes []Outcome

	mu     sync.Mutex
	failed int
}

// batch works on some hosts and settles them.
func (r *running) batch(some []Outcome) {
	var group sync.WaitGroup
	free := make(chan struct{}, r.jobs())
	for i := range some {
		free <- struct{}{}
		if r.stopped() {
			break
		}
		group.Go(func() {
			r.one(&some[i])
			<-free
		})
	}
	group.Wait()
	if r.Settle != nil {
		r.settle(some)
	}
}

func (r *running) jobs() int {
	if r.Jobs > 0 {
		return r.Jobs
	}
	return DefaultJobs
}

// stopped reports whether no more hosts are to be begun.
func (r *running) stopped() bool {
	select {
	case <-r.Stop:
		return true
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.StopAfter > 0 && r.failed >= r.StopAfter
}

func (r *running) one(o *Outcome) {
	o.Begun = true
	o.Err = r.Do(o.Host)
	if o.Err != nil || r.Settle == nil {
		r.end(o)
	}
}

func (r *running) settle(some []Outcome) {
	var well []string
	for _, o := range some {
		if o.Begun && o.Err == nil {
			well = append(well, o.Host)
		}
	}
	if len(well) == 0 {
		return
	}
	wrong := r.Settle(well)
	for i := range some {
		if o := &some[i]; o.Begun && o.Err == nil {
			o.Err = wrong[o.Host]
			r.end(o)
		}
	}
}

func (r *running) end(o *Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.Err != nil {
		r.failed++
	}
	if r.Done != nil {
		r.Done(*o)
	}
}

// A Summary tells the outcomes apart.
type Summary struct {
	Done, Failed, NotBegun []string
	Errs                   []error
}

// Sum tells outcomes apart, in their order.
func Sum(outcomes []Outcome) (s Summary) {
	for _, o := range outcomes {
		switch {
		case !o.Begun:
			s.NotBegun = append(s.NotBegun, o.Host)
		case o.Err != nil:
			s.Failed = append(s.Failed, o.Host)
			s.Errs = append(s.Errs, o.Err)
		default:
			s.Done = append(s.Done, o.Host)
		}
	}
	return s
}
