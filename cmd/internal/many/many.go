// Package many does the same thing on several hosts: some at a time, in batches if wanted,
// until too many of them have failed or the user stops it.
package many

import "sync"

// DefaultJobs is how many hosts are served at once by default: sshd drops connections when
// 10 of them are not authenticated yet (MaxStartups in sshd_config(5)).
const DefaultJobs = 8

// A Work is what to do on each of several hosts. A host that fails does not stop others,
// except as StopAfter says.
type Work struct {
	Hosts     []string
	Jobs      int             // how many at once; 0: [DefaultJobs]
	Batch     int             // how many to settle before the next ones are begun; 0: all
	StopAfter int             // after so many failures no more are begun; 0: never
	Stop      <-chan struct{} // no more are begun once it is closed; nil: never

	Do func(host string) error

	// Settle checks the hosts of a batch on which Do has succeeded, and returns the errors
	// of those that have failed after all. nil: there is no check.
	Settle func(hosts []string) map[string]error

	// Done is called for each host as soon as its outcome is final, one at a time; may be
	// nil.
	Done func(Outcome)
}

// An Outcome is the result for one host.
type Outcome struct {
	Host  string
	Begun bool
	Err   error
}

// Run does the work, and returns the outcomes in the order of the hosts.
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

// stopped reports whether no more hosts should be begun.
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

// A Summary sorts outcomes by kind.
type Summary struct {
	Done, Failed, NotBegun []string
	Errs                   []error
}

// Sum sorts outcomes by kind, each kind in their order.
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
