package ui

import (
	"fmt"
	"strings"
	"time"
)

// What several verbs spell alike.

// Quoted is a word for a shell.
func Quoted(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._/-") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// DidYouMean asks whether the one known word that is a slip away from typed, or that
// typed begins, was meant.
func DidYouMean(typed string, known []string, spell func(string) string) string {
	for _, k := range known {
		if len(k) > 1 && typed != "" && (strings.HasPrefix(k, typed) || oneSlip(typed, k)) {
			return "did you mean " + spell(k) + "?"
		}
	}
	return ""
}

// oneSlip tells whether a becomes b when one letter is put in, left out or
// changed, or two neighbours are swapped.
func oneSlip(a, b string) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	swapped := len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
	return len(a) <= 1 && len(b) <= 1 || swapped
}

// InWords tells a time in its largest unit.
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

// InBytes tells an amount as wg(8) does.
func InBytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f := float64(n)
	for len(units) > 1 && f >= 1024 {
		f, units = f/1024, units[1:]
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + units[0]
}

// Plural spells a number of things.
func Plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Naming lists some names.
func Naming(names []string) string {
	const shown = 5
	if n := len(names); n > shown {
		return strings.Join(names[:shown], ", ") + fmt.Sprintf(" and %d more", n-shown)
	}
	return strings.Join(names, ", ")
}
