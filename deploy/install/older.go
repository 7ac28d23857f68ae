package install

import (
	"strconv"
	"strings"
	"time"

	"wgkeys/keyring/lazyregexp"
)

// said parses the output of wgkeys --version: the version of a release or of the module, and
// the date of its commit.
var said = lazyregexp.New(`^wgkeys (\S+)(?: \((?:commit [0-9a-f]+, )?(\d{4}-\d\d-\d\d)?)?`)

// Older reports whether a wgkeys whose --version prints ours is older than one that prints
// theirs. Two releases are compared by their versions, other builds by the dates of their
// commits. Builds of one day, or without a date, count as equally old.
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

// numbers returns the three numbers of a release's version and two that order its
// pre-releases (v1.0.0-rc.2) and pseudo-versions before it; nil if it is not a release's.
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
