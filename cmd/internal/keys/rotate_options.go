package keys

import "wgkeys/deploy/rotate"

// RotateOptions say which keys to replace, and how.
type RotateOptions struct {
	Hosts    []string  // none: all
	Only     string    // the tunnel; "": all
	Due      bool      // only keys that are older than max_key_age
	Selected selection // only those; nil: all
	PSKOnly  bool      // only preshared keys, which are replaced with a key otherwise
	Skip     []string  // peers to leave behind

	Unknown bool // also if a host uses a key that this repository does not know
	Now     bool // a key was stolen: refuse it at once
	OnHost  bool // the host makes its key itself
	NoHold  bool // do not hold packets during the switch
	DryRun  bool
	Jobs    int // how many hosts to ask at once

	SkipUnreachable bool // leave behind every peer that does not answer

	StopAfter int // after so many failures no more are begun; 0: never

	Event func(rotate.Event)                // called with messages about the work
	Done  func(v rotate.Event, line string) // called for each key that is current now
}

// A selection is a set of keys of a repository.
type selection interface {
	Has(host, tunnel string) bool
	HasPSK(pair [2]string, tunnel string) bool
}
