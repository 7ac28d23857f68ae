// Package words quotes for a shell, finds the nearest known word, and spells the command lines of
// hints.
package words

import (
	"fmt"
	"iter"
	"strings"
)

// Quote returns s as one word of a POSIX shell. Inside single quotes only the
// single quote is special (POSIX.1-2024, XCU 2.2.2). The shells fish and csh
// read a backslash or an exclamation mark differently: what must be safe for
// any login shell travels on standard input instead.
func Quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// plain are the characters that need no quotes in any shell.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._/:+%-"

// ForShell is [Quote] for a command that is shown to a user: a word that needs no quotes
// gets none.
func ForShell(s string) string {
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return Quote(s)
}

// AndMore names the first of several things: "X", "X and 1 more". All is the number of them
// including the first.
func AndMore(first string, all int) string {
	if all < 2 {
		return first
	}
	return fmt.Sprintf("%s and %d more", first, all-1)
}

// edits returns how many insertions, deletions, changes or swaps of neighbouring bytes lead
// from a to b, or limit if that is not below it.
func edits(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, before
		row[0] = i + 1
		for j := range len(b) {
			change := above[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, row[j]+1, above[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return min(row[len(b)], limit)
}

// Nearest returns the known word that a mistyped word probably meant, or "": the one with
// the fewest edits, at most a third of its letters, or one that begins with the typed word.
// Case, underscores and dashes do not count: wg(8)'s ListenPort is near to listen_port. All
// "did you mean" hints come from it.
func Nearest(typed string, known iter.Seq[string]) string {
	best, distance := "", 1+max(1, len(typed)/3)
	typed = Plainly(typed)
	for k := range known {
		spelled := Plainly(k)
		d := edits(typed, spelled, distance+1)
		if len(typed) > 1 && strings.HasPrefix(spelled, typed) {
			d = min(d, 1)
		}
		if d < len(spelled) && (d < distance || d == distance && best != "" && k < best) {
			best, distance = k, d
		}
	}
	return best
}

// Plainly returns a word in lower case, without underscores and dashes.
func Plainly(word string) string { return unmarked.Replace(strings.ToLower(word)) }

var unmarked = strings.NewReplacer("_", "", "-", "")
