// Package lazyregexp compiles regular expressions when they are first used: the program is
// started often, and each start would otherwise compile all of them.
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
