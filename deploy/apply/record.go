package apply

import (
	"bytes"
	"strconv"
)

// before writes that the things of steps are about to be touched.
func before(j *Journal, steps []Step) error {
	var b bytes.Buffer
	for _, s := range steps {
		for _, e := range s.Change.entries(j.Entries) {
			if s.Change.trusted() {
				e.Set = unsure
			}
			j.write(&b, e)
		}
	}
	return j.append(b.Bytes())
}

// number writes which link of the name is ours. Until then, whatever has the
// name and is a tunnel is taken for it.
func number(j *Journal, c LinkChange, index int) error {
	e := Entry{Set: strconv.Itoa(index)}
	j.touch(c.Resource(), e)
	return j.append([]byte("+\t" + c.Resource() + "\t" + e.Was + "\t" + e.Set + "\n"))
}

// after writes that the things of steps are as they were before us, where so.
func after(j *Journal, steps []Step) error {
	var b bytes.Buffer
	for _, s := range steps {
		if s.Change.trusted() {
			for _, e := range s.Change.entries(j.Entries) {
				j.write(&b, e)
			}
		}
		resource := s.Change.Resource()
		if e, ok := j.Entries[resource]; ok && s.Change.restores(e, j.Entries) {
			delete(j.Entries, resource)
			b.WriteString("-\t" + resource + "\n")
		}
	}
	j.Order = live(j.Order, j.Entries)
	if len(j.Entries) == 0 {
		return j.end()
	}
	return j.append(b.Bytes())
}
