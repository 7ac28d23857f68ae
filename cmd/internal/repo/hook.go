package repo

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/git"
	"wgkeys/keyring/words"
)

// InstallHook makes git run "wgkeys check -q --staged" before each commit. A hook of the
// user's is left as it is.
func InstallHook(ctx context.Context, say ui.Reporter, dir string) error {
	path, err := git.HookPath(ctx, dir, "pre-commit")
	if err != nil {
		return fault.WrapFile(err, "no hook was made for", dir, "")
	}
	prefix, err := git.Prefix(ctx, dir)
	if err != nil {
		return err
	}
	if err := hookIsOurs(ctx, dir, path, prefix); err != nil {
		return err
	}
	text := hookText(prefix)
	old, err := readHook(path)
	switch {
	case err == nil && bytes.Equal(old, text):
		if err := os.Chmod(path, 0o755); err != nil { // git ignores a hook that it cannot run
			return fault.WrapFile(fault.Errno(err), "cannot make executable the hook", path, "chmod +x "+ui.Quoted(path))
		}
		say.Say("the hook %s is there already", path)
		return nil
	case err == nil && !bytes.Equal(old, olderHook(prefix)):
		return fault.NewFile("there is another hook", path, "it is left as it is",
			"write into it: "+hookLine(prefix)+" || exit 1")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fault.WrapFile(fault.Errno(err), "cannot read the hook", path, "")
	}
	if err := writeHook(path, text); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot make the hook", path, "")
	}
	say.Say("git runs wgkeys check -q --staged before each commit: %s", path)
	return nil
}

// hookIsOurs refuses to write a hook that other repositories would run, too: git may look
// for the hooks of all of them in one folder (core.hooksPath).
func hookIsOurs(ctx context.Context, dir, path, prefix string) error {
	own, err := git.Dir(ctx, dir)
	if err != nil {
		return err
	}
	top, _ := git.Top(dir)
	for _, folder := range []string{own, top} {
		if rel, err := filepath.Rel(folder, path); err == nil && filepath.IsLocal(rel) {
			return nil
		}
	}
	return fault.NewFile("other repositories share the hooks in", filepath.Dir(path), "core.hooksPath leads there",
		"git -C "+ui.Quoted(dir)+" config core.hooksPath "+ui.Quoted(filepath.Join(own,
			"hooks"))+", then wgkeys init --hook; or write into the one that is there: "+hookLine(prefix))
}

// hookText does nothing on a branch without a repository of wgkeys.
func hookText(prefix string) []byte {
	return []byte("#!/bin/sh\n" + hookMark + "\n[ -e " + ui.Quoted(prefix+Marker) + " ] || exit 0\nexec " +
		hookLine(prefix) + "\n")
}

// olderHook is the text that earlier versions wrote.
func olderHook(prefix string) []byte {
	return []byte("#!/bin/sh\n" + hookMark + "\nexec " + hookLine(prefix) + "\n")
}

// hookLine is run by git at the top of the working tree.
func hookLine(prefix string) string {
	if prefix == "" {
		return "wgkeys check -q --staged"
	}
	return "wgkeys check -q --staged -C " + words.Quote(strings.TrimSuffix(prefix, "/"))
}

// writeHook replaces the hook in one step: a partial one would let everything through.
func writeHook(path string, text []byte) error {
	if err := files.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return files.Replace(path, bytes.NewReader(text), files.Replacement{Mode: 0o755, Inherit: true})
}

// readHook reads the beginning of a hook, which is all of one of ours. It does not wait for
// the writer of a FIFO (fifo(7)), which is not ours.
func readHook(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	return git.ReadHook(path)
}
