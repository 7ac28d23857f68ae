package keyring

import (
	"errors"
	"path"
	"strings"
	"unicode"
)

// CheckHost returns why name cannot be a host's, nil if it can. Host names become names of
// folders, words of a vault file's metadata and arguments of ssh.
func CheckHost(name string) error {
	switch {
	case name == "":
		return errors.New("a host needs a name")
	case len(name) > 63:
		return errors.New("a host's name has at most 63 bytes (RFC 1035, section 2.3.4)")
	case name[0] == '-':
		return errors.New("a leading dash would make it an option")
	case !ofHostChars(name):
		return errors.New("a host's name is lower-case letters, digits, - and _")
	}
	return nil
}

// ofHostChars is called many times for each of ten thousand names: a plain loop is faster
// than package strings, which builds a table each time.
func ofHostChars(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || 'z' < c) && (c < '0' || '9' < c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// CheckFile returns why p cannot be the path of a key file on a host, nil if it can. The
// path is sent as part of a line, so it has no control character and no space at its end,
// and a person reviews it, so all of its characters are visible.
func CheckFile(p string) error {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	switch {
	case !path.IsAbs(p) || path.Clean(p) != p || p == "/":
		return errors.New("is not an absolute path of a file, without . and .. in it")
	case len(p) > 1024:
		return errors.New("is longer than 1024 bytes")
	case strings.ContainsFunc(p, unprintable):
		return errors.New("has a character that cannot be printed")
	case strings.HasSuffix(p, " "):
		return errors.New("ends in a space")
	}
	return nil
}
