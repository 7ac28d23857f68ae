package check

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/vault"
)

// A Finding says what is wrong, where, and what to do about it.
type Finding struct {
	Check  string `json:"check"` // what was checked: "recipients", "secret"
	Tunnel string `json:"tunnel,omitempty"`
	Host   string `json:"host,omitempty"`
	File   string `json:"file,omitempty"` // relative to the repository's folder
	Line   int    `json:"line,omitempty"`
	What   string `json:"what"`
	Hint   string `json:"hint"`

	lacks    string            // a file is missing
	conflict bool              // the file has conflict markers
	other    bool              // the private key is another one than the keyring's
	moved    *vault.MovedError // the file may belong to a renamed host or tunnel
}

// A report collects findings.
type report struct {
	dir   string // the repository's
	found []Finding
}

// add finds something at path, which may be "".
func (r *report) add(f Finding, path string, line int, what string, args ...any) {
	f.What = fmt.Sprintf(what, args...)
	if path != "" {
		f.File, f.Line = r.relative(path), line
	}
	r.found = append(r.found, f)
}

func (r *report) relative(path string) string {
	if !filepath.IsAbs(path) {
		return path
	}
	if rel, err := filepath.Rel(r.dir, path); err == nil {
		return filepath.ToSlash(rel)
	}
	return path
}

// thisVerb is the hint of errors about which check itself says more.
const thisVerb = "wgkeys check"

// fault adds an error as a finding, and each part of a joined error as one of its own.
func (r *report) fault(f Finding, err error) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range several.Unwrap() {
			r.fault(f, err)
		}
		return
	}
	f.Hint = "git log -p"
	if hints := fault.Hints(err); len(hints) > 0 {
		f.Hint = hints[0]
		if len(hints) > 1 && errors.Is(err, vault.ErrNoIdentity) { // what the identity that there is lacks comes first
			f.Hint = hints[1] + "; or " + hints[0]
		}
	} else if f.Check == "tunnel" {
		f.Hint = "mend that line; wgkeys help tunnel says what each key means"
	} else if f.Host != "" {
		f.Hint = "git log -p -- vault/" + f.Host + " keyring/" + f.Host
	}
	f.conflict = errors.Is(err, files.ErrConflict)
	f.moved, _ = errors.AsType[*vault.MovedError](err)
	if f.conflict && f.Hint == thisVerb { // checker.merges handles those that git still reports as unmerged
		f.Hint = "git -C " + ui.Quoted(r.dir) + " checkout HEAD -- FILE, or where a commit has the markers: git -C " +
			ui.Quoted(r.dir) + " checkout HEAD^ -- FILE; then wgkeys rekey"
		if about, ok := errors.AsType[*fault.Fault](err); ok {
			f.Hint = strings.ReplaceAll(f.Hint, "FILE", ui.Quoted(about.File))
		}
	}
	path, line := "", 0
	if about, ok := err.(*fault.Fault); ok {
		path, line = about.File, about.Line
	}
	r.add(f, path, line, "%v", err)
}

// unique removes duplicates: an error in a file of all hosts is reported for each of them.
func unique(all []Finding) []Finding {
	seen := map[string]bool{}
	out := []Finding{}
	for _, f := range all {
		if !seen[f.What] {
			seen[f.What] = true
			out = append(out, f)
		}
	}
	return out
}
