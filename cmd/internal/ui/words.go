package ui

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"wgkeys/keyring/words"
)

// Texts that several verbs share.

// Quoted quotes a word for a shell, for a command that is shown to the user.
func Quoted(word string) string { return words.ForShell(word) }

// DidYouMean returns a question whether the nearest known word was meant, or "" if none is
// near.
func DidYouMean(typed string, known []string, spell func(string) string) string {
	if near := words.Nearest(typed, slices.Values(known)); near != "" {
		return "did you mean " + spell(near) + "?"
	}
	return ""
}

// Among returns the reason for an error about a word that is not one of a set: which words
// there are, and which was probably meant.
func Among(typed string, known []string) string {
	why := "there are " + strings.Join(known, ", ")
	if near := DidYouMean(typed, known, strconv.Quote); near != "" {
		why += ": " + near
	}
	return why
}

// InWords returns a duration in its largest unit.
func InWords(d time.Duration) string {
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if n := int(d / unit.d); n > 1 {
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}

// InBytes returns an amount as wg(8) writes it.
func InBytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f := float64(n)
	for len(units) > 1 && f >= 1024 {
		f, units = f/1024, units[1:]
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + units[0]
}

// Plural returns a number with its noun.
func Plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Naming lists names, or only the first ones if there are many.
func Naming(names []string) string {
	const shown = 5
	if n := len(names); n > shown {
		return strings.Join(names[:shown], ", ") + fmt.Sprintf(" and %d more", n-shown)
	}
	return strings.Join(names, ", ")
}
