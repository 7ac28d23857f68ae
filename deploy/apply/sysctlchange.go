package apply

import (
	"cmp"
	"fmt"

	"wgkeys/deploy/apply/journal"
	"wgkeys/keyring/words"
)

// A SideEffect is a kernel parameter that the kernel sets by itself along with a
// change, and which down has to put back. Was is as in a [SysctlChange].
type SideEffect struct{ Key, Old, Set, Was string }

// A SysctlChange sets one kernel parameter. Key is its path below /proc/sys.
// Was is the value to put back in the end: another tunnel of ours may have set
// Old. Where Old is "" nothing is known of the parameter, and nothing put back.
type SysctlChange struct {
	Key, Old, New, Was string
	SideEffects        []SideEffect
}

func (c SysctlChange) Resource() journal.Resource { return journal.Sysctl.Of(c.Key) }

func (c SysctlChange) Inverse() []Change {
	if c.Old == "" {
		return nil
	}
	back := SysctlChange{Key: c.Key, Old: c.New, New: c.Old}
	for _, d := range c.SideEffects {
		value := c.Old
		if d.Key == redirects {
			value = opposite(value)
		}
		back.SideEffects = append(back.SideEffects, SideEffect{Key: d.Key, Old: d.Set, Set: value})
	}
	return append([]Change{back}, putBack(c.SideEffects)...)
}

func (c SysctlChange) String() string {
	return fmt.Sprintf("sysctl -w %s=%s", sysctlName(c.Key), words.ForShell(c.New))
}

func (c SysctlChange) entries(known journal.Entries) []line {
	lines := sideEffectLines(c.SideEffects, known)
	if c.Old == "" {
		return lines
	}
	return append(lines, first(known, c.Resource(), journal.Entry{Was: cmp.Or(c.Was, c.Old), Set: c.New}))
}

// restores: a parameter that is a side effect of another one of the journal has to be put back
// once more after that one.
func (c SysctlChange) restores(e journal.Entry, known journal.Entries) bool {
	return c.New == e.Was && !known.Has(journal.Sysctl.Of(driver(c.Key)))
}
func (SysctlChange) trusted() bool       { return false }
func (SysctlChange) traits() traits      { return traits{} }
func (SysctlChange) TouchesKernel() bool { return true }

// A ShareChange touches the journal alone: the parameter is as wanted because
// another tunnel set it, and is put back by the last of them.
type ShareChange struct{ Key, Was, Set string }

func (c ShareChange) Resource() journal.Resource { return journal.Sysctl.Of(c.Key) }

func (c ShareChange) Inverse() []Change { return []Change{ReleaseChange(c)} }

func (c ShareChange) String() string {
	return fmt.Sprintf("# %s=%s is set already", sysctlName(c.Key), c.Set)
}

func (c ShareChange) entries(_ journal.Entries) []line {
	return []line{{c.Resource(), journal.Entry{Was: c.Was, Set: c.Set}}}
}
func (ShareChange) restores(_ journal.Entry, _ journal.Entries) bool { return false }
func (ShareChange) trusted() bool                                    { return false }
func (ShareChange) traits() traits                                   { return traits{} }
func (ShareChange) TouchesKernel() bool                              { return false }

// A ReleaseChange touches the journal alone: the parameter is left as it is,
// to another tunnel or to whoever changed it since. Was and Set are its entry's.
type ReleaseChange struct{ Key, Was, Set string }

func (c ReleaseChange) Resource() journal.Resource { return journal.Sysctl.Of(c.Key) }

func (c ReleaseChange) Inverse() []Change { return []Change{ShareChange(c)} }

func (c ReleaseChange) String() string {
	return fmt.Sprintf("# %s stays as it is", sysctlName(c.Key))
}

func (ReleaseChange) entries(_ journal.Entries) []line                 { return nil }
func (ReleaseChange) restores(_ journal.Entry, _ journal.Entries) bool { return true }
func (ReleaseChange) trusted() bool                                    { return false }
func (ReleaseChange) traits() traits                                   { return traits{} }
func (ReleaseChange) TouchesKernel() bool                              { return false }

func putBack(effects []SideEffect) []Change {
	var back []Change
	for _, d := range effects {
		back = append(back, SysctlChange{Key: d.Key, Old: d.Set, New: d.Old})
	}
	return back
}

func sideEffectLines(effects []SideEffect, entries journal.Entries) []line {
	var lines []line
	for _, d := range effects {
		lines = append(lines, first(entries, journal.Sysctl.Of(d.Key), journal.Entry{Was: cmp.Or(d.Was, d.Old), Set: d.Set}))
	}
	return lines
}

// first keeps the value from before our first touch. About to be put back, a
// thing still has the value we gave it: were that forgotten now, a crash would
// make it look like somebody else's.
func first(entries journal.Entries, resource journal.Resource, e journal.Entry) line {
	old, ok := entries[resource]
	switch {
	case ok && old.Was == e.Set:
		return line{resource, old}
	case ok:
		e.Was = old.Was
	}
	return line{resource, e}
}
