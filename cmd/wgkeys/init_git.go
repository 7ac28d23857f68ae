package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/files"
	"wgkeys/keyring/git"
)

const attributesFile = ".gitattributes"

// attributes make git write a key as $(cat FILE) needs it, whatever core.autocrlf says, and
// not merge encrypted files by lines: then it keeps one side, and rekey does the rest
// (gitattributes(5), "text" and "merge").
const attributes = `keyring/**/*.pub text eol=lf
vault/**/*.age text eol=lf -merge
`

// writeAttributes leaves a file that exists as it is.
func writeAttributes(e *env, dir string, more fs.FileMode) error {
	err := writeNew(dir, attributesFile, attributes, more)
	if errors.Is(err, fs.ErrExist) {
		text, err := files.Read(dir, filepath.Join(dir, attributesFile), repo.MaxFile)
		if err != nil || string(text) != attributes {
			e.ui.Say("there is a %s already; these lines belong in it: keyring/**/*.pub text eol=lf; vault/**/*.age text eol=lf -merge", attributesFile)
		}
		return nil
	}
	return err
}

// offerGit asks whether to make a git repository, if there is a user to answer.
func offerGit(e *env, dir string) error {
	if _, err := git.Top(dir); err == nil {
		return nil
	}
	if !e.ui.Quiet && git.Installed() && term.IsTerminal(int(os.Stdin.Fd())) {
		switch yes, err := e.ui.Confirm("it is not in git, which keeps its history: git init " + ui.Quoted(dir) + "?"); {
		case err != nil:
			return err
		case yes:
			return git.Init(e.ctx, dir)
		}
	}
	e.ui.Say("it is not in git yet: %s", git.ToInit(dir))
	return nil
}
