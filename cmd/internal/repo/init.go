package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// Init makes a repository in dir, whose vault is for recipients. It writes the marker last: a
// folder is a repository or it is not. Until then other verbs have nothing to lock, so it locks
// the folder itself; if two run at once, one of them makes nothing.
func Init(ctx context.Context, say ui.Reporter, dir string, recipients []string) error {
	more := sharedMode(ctx, filepath.Dir(dir))
	if err := files.MkdirAll(dir, 0o755|more&0o020); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot make the folder", dir, "")
	}
	unlock, err := files.Lock(dir)
	if err != nil {
		return fault.WrapFile(err, "cannot lock the folder", dir,
			"wait until the other wgkeys init is done, then run this again")
	}
	defer unlock()
	if err := SweepInit(dir); err != nil {
		return err
	}
	for _, sub := range []string{"tunnels", "keyring", "vault"} {
		if err := files.MkdirAll(filepath.Join(dir, sub), 0o755|more&0o020); err != nil {
			return fault.WrapFile(fault.Errno(err), "cannot make the folder", filepath.Join(dir, sub), "")
		}
	}
	list := "# who can decrypt, one recipient a line\n"
	for _, r := range recipients {
		list += "# " + whoAmI() + "\n" + r + "\n"
	}
	err = writeNew(dir, "vault/recipients.txt", list, more)
	if errors.Is(err, fs.ErrExist) {
		err = tellOthersList(say, dir, recipients)
	}
	if err != nil {
		return err
	}
	if err := writeAttributes(say, dir, more); err != nil {
		return err
	}
	return writeNew(dir, Marker, "# This file marks a repository of wgkeys. Its settings are all optional.\n", more)
}

// SweepInit removes what a killed init has left: other verbs make no file in these folders.
func SweepInit(dir string) error {
	made := func(name string) bool {
		return name == Marker || name == "recipients.txt" || name == attributesFile
	}
	for _, left := range []string{dir, filepath.Join(dir, "vault")} {
		err := files.Sweep(dir, left, made)
		if err != nil && !errors.Is(err, files.ErrOutside) { // reported better by the code that writes there
			return fault.WrapFile(err, "cannot remove what an earlier command has left in", left, "ls -la "+ui.Quoted(left))
		}
	}
	return nil
}

// tellOthersList warns if an existing list does not contain the user: he could not open
// what is encrypted to it.
func tellOthersList(say ui.Reporter, dir string, recipients []string) error {
	path := filepath.Join(dir, "vault", "recipients.txt")
	text, err := files.Read(dir, path, MaxFile)
	if err != nil {
		return fault.WrapFile(err, "cannot read", path, "")
	}
	for _, r := range recipients {
		if !strings.Contains(string(text), r) {
			say.Warn(fault.NewFile("a list of recipients without you was there already:", path,
				"you cannot open what is encrypted to it",
				fmt.Sprintf("if it is of the same kind: printf '\\n%%s\\n' %s >>%s", ui.Quoted(r), ui.Quoted(path))))
		}
	}
	return nil
}

const attributesFile = ".gitattributes"

// attributes make git write a key as $(cat FILE) needs it, whatever core.autocrlf says, and
// not merge encrypted files by lines: then it keeps one side, and rekey does the rest
// (gitattributes(5), "text" and "merge").
const attributes = `keyring/**/*.pub text eol=lf
vault/**/*.age text eol=lf -merge
`

// writeAttributes writes them for git. A file that exists stays as it is.
func writeAttributes(say ui.Reporter, dir string, more fs.FileMode) error {
	err := writeNew(dir, attributesFile, attributes, more)
	if errors.Is(err, fs.ErrExist) {
		text, err := files.Read(dir, filepath.Join(dir, attributesFile), MaxFile)
		if err != nil || string(text) != attributes {
			say.Say("there is a %s already; these lines belong in it: keyring/**/*.pub text eol=lf; vault/**/*.age text eol=lf -merge", attributesFile)
		}
		return nil
	}
	return err
}

// whoAmI is the user as a comment of a recipient names him: USER@MACHINE.
func whoAmI() string {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	u, err := user.Current()
	if err != nil {
		return host
	}
	return u.Username + "@" + host
}

// writeNew writes a plain file that must not exist yet.
func writeNew(dir, name, text string, more fs.FileMode) error {
	path := filepath.Join(dir, name)
	if err := files.Create(dir, path, []byte(text), 0o644|more); err != nil {
		return fault.WrapFile(err, "cannot write", path, "")
	}
	return nil
}
