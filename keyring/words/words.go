// Package words spells for a shell, and finds the word that was meant.
package words

import (
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

// plain are the characters that are a word as they are, in every shell.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._/-"

// ForShell is [Quote] for a command that a person is shown: a word that needs no quotes
// has none.
func ForShell(s string) string {
	if strings.Trim(s, plain) == "" {
		return s
	}
	return Quote(s)
}

// edits returns how many bytes to insert, delete, change or swap with the next
// one lead from a to b, or limit if that is not below it.
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

// Nearest returns the known word that was meant by the one that was typed, or "" if none is
// near: the one to which the fewest edits lead, and no more than a third of its letters, or
// one that it begins. Case, underscores and dashes do not count: wg(8)'s ListenPort is near
// to listen_port. It is the one way in which all that expects a word of a set asks "did you
// mean".
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

// Plainly is a word without case, underscores and dashes.
func Plainly(word string) string { return unmarked.Replace(strings.ToLower(word)) }

var unmarked = strings.NewReplacer("_", "", "-", "")
