// Package lazyregexp is regular expressions that are compiled when they are first used: a
// program of many starts has better things to do at each than to compile those of others.
package lazyregexp

import (
	"regexp"
	"sync"
)

// New returns a function that compiles text at its first call, and panics there if text is
// no regular expression.
func New(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}
