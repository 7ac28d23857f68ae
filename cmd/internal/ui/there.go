package ui

import (
	"path/filepath"
	"strings"

	"wgkeys/keyring/lazyregexp"
)

// inRepository matches a command that is run in the repository: git, a verb of wgkeys, or
// one that names a file of it.
var inRepository = lazyregexp.New(`(^|[ (])(git|wgkeys) [a-z-]|(^|[ '"])(vault|keyring|tunnels)/`)

// saysWhere matches one that is right anywhere.
var saysWhere = lazyregexp.New(` -C |git init |wgkeys init`)

// toHost matches a command that works on one host, as far as its name.
var toHost = lazyregexp.New(`\bwgkeys (apply|confirm|down|install|plan|push|rotate|status|uninstall)((?: -t [^ ]+)?) ([a-z0-9_-]+)`)

// There returns a hint for the user's working folder: if the repository was named with -C,
// it begins with that folder. A hint for a host says so itself. A command on the host that
// this machine was said to be says so again: otherwise it would go there over ssh.
func (u *UI) There(hint string) string {
	hint = toHost().ReplaceAllStringFunc(hint, func(command string) string {
		if part := toHost().FindStringSubmatch(command); part[3] == u.Self {
			return "wgkeys " + part[1] + part[2] + " --host " + u.Self + " " + u.Self
		}
		return command
	})
	if u.Folder == "" || strings.HasPrefix(hint, "on ") || saysWhere().MatchString(hint) ||
		!inRepository().MatchString(hint) {
		return hint
	}
	return "in " + u.Folder + ": " + hint
}

// Elsewhere reports whether a user in here, an absolute path, who names folder with -C, is
// outside of it.
func Elsewhere(here, folder string) bool {
	if folder == "" {
		return false
	}
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(here, folder)
	}
	below, err := filepath.Rel(folder, here)
	return err != nil || below == ".." || strings.HasPrefix(below, "../")
}
