package apply

import (
	"strconv"

	"wgkeys/deploy/apply/journal"
)

// before writes that the things of steps are about to be touched.
func before(j *journal.Journal, steps []Step) error {
	for _, s := range steps {
		for _, e := range s.Change.entries(j.Entries) {
			if s.Change.trusted() {
				e.Set = journal.Unsure
			}
			j.Set(e.resource, e.Entry)
		}
	}
	return j.Save()
}

// number writes which link of the name is ours. Until then, whatever has the
// name and is a tunnel is taken for it.
func number(j *journal.Journal, c LinkChange, index int) error {
	j.Set(c.Resource(), journal.Entry{Set: strconv.Itoa(index)})
	return j.Save()
}

// after writes that the things of steps are as they were before us, where so.
func after(j *journal.Journal, steps []Step) error {
	for _, s := range steps {
		if s.Change.trusted() {
			for _, e := range s.Change.entries(j.Entries) {
				j.Set(e.resource, e.Entry)
			}
		}
		resource := s.Change.Resource()
		if e, ok := j.Entries[resource]; ok && s.Change.restores(e, j.Entries) {
			j.Delete(resource)
		}
	}
	if len(j.Entries) == 0 {
		return j.End()
	}
	return j.Save()
}
