package install

import (
	"strconv"
	"strings"
	"time"

	"wgkeys/keyring/lazyregexp"
)

// said takes what --version of a wgkeys says apart: the version of a release or of the
// module, and the date of its commit.
var said = lazyregexp.New(`^wgkeys (\S+)(?: \((?:commit [0-9a-f]+, )?(\d{4}-\d\d-\d\d)?)?`)

// Older reports whether a wgkeys that says ours is older than one that says theirs, both of
// its version. Of two releases the version tells, else the dates of their commits: builds of
// one day, or of which one knows no date, have no order.
func Older(ours, theirs string) bool {
	a, b := said().FindStringSubmatch(ours), said().FindStringSubmatch(theirs)
	if a == nil || b == nil {
		return false
	}
	if x, y := numbers(a[1]), numbers(b[1]); x != nil && y != nil {
		for i := range x {
			if x[i] != y[i] {
				return x[i] < y[i]
			}
		}
	}
	mine, err := time.Parse(time.DateOnly, a[2])
	his, err2 := time.Parse(time.DateOnly, b[2])
	return err == nil && err2 == nil && mine.Before(his)
}

// numbers are those of a release's version, and whether it is one at last; nil: it is none.
// A version before a release, or one that was made of a commit, is before it.
func numbers(version string) []int {
	core, ok := strings.CutPrefix(version, "v")
	if !ok {
		return nil
	}
	core, _, _ = strings.Cut(core, "+")
	core, before, early := strings.Cut(core, "-")
	parts := strings.Split(core, ".")
	if len(parts) != 3 || core == "0.0.0" && early { // the module's, of no release
		return nil
	}
	all := make([]int, 0, 5)
	for _, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil {
			return nil
		}
		all = append(all, n)
	}
	if !early {
		return append(all, 1, 0)
	}
	n, _ := strconv.Atoi(strings.TrimLeft(before, "abcdefghijklmnopqrstuvwxyz."))
	return append(all, 0, n)
}
