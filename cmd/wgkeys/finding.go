package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/git"
)

// A finding is something wrong, where, and what to do about it.
type finding struct {
	Check  string `json:"check"` // what was looked at: "recipients", "secret"
	Tunnel string `json:"tunnel,omitempty"`
	Host   string `json:"host,omitempty"`
	File   string `json:"file,omitempty"` // as seen from the repository's folder
	Line   int    `json:"line,omitempty"`
	What   string `json:"what"`
	Hint   string `json:"hint"`
}

// A report collects findings.
type report struct {
	dir   string // the repository's
	found []finding
}

// add finds something at path, which may be "".
func (r *report) add(f finding, path string, line int, what string, args ...any) {
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

var placeOf = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(.*?)(?::([0-9]+))?$`)
})

// fault adds an error as a finding, and one of several as each by itself.
func (r *report) fault(f finding, err error) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range several.Unwrap() {
			r.fault(f, err)
		}
		return
	}
	f.Hint = "git log -p"
	if hints := fault.Hints(err); len(hints) > 0 {
		f.Hint = hints[0]
	} else if f.Host != "" {
		f.Hint = "git log -p -- vault/" + f.Host + " keyring/" + f.Host
	}
	if errors.Is(err, files.ErrConflict) && f.Hint == "wgkeys check" { // see checker.merges of those that git still knows of
		f.Hint = "git -C " + ui.Quoted(r.dir) + " checkout HEAD -- FILE, or where a commit has the markers: git -C " + ui.Quoted(r.dir) + " checkout HEAD^ -- FILE; then wgkeys rekey"
		if told, ok := errors.AsType[*fault.Fault](err); ok {
			f.Hint = strings.ReplaceAll(f.Hint, "FILE", ui.Quoted(told.Who))
		}
	}
	path, line := "", 0
	if told, ok := err.(*fault.Fault); ok && strings.Contains(told.Who, "/") {
		m := placeOf().FindStringSubmatch(told.Who)
		path = m[1]
		line, _ = strconv.Atoi(m[2])
	}
	r.add(f, path, line, "%v", err)
}

// unique leaves each finding once: what is wrong with a file of all hosts is not
// wrong with each of them.
func unique(all []finding) []finding {
	seen := map[string]bool{}
	out := []finding{}
	for _, f := range all {
		if !seen[f.What] {
			seen[f.What] = true
			out = append(out, f)
		}
	}
	return out
}

// annotators are the forms in which code hosts take findings, to show each beside
// its line.
var annotators = map[string]func(*ui.UI, []finding) error{"github": annotateGitHub, "gitlab": annotateGitLab}

// annotateGitHub writes workflow commands
// (https://docs.github.com/actions/reference/workflow-commands-for-github-actions).
func annotateGitHub(u *ui.UI, found []finding) error {
	value := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range found {
		place := ""
		if f.File != "" {
			place = fmt.Sprintf("file=%s,line=%d,", property.Replace(f.File), max(f.Line, 1))
		}
		u.Printf("::error %stitle=%s::%s\n", place, property.Replace("wgkeys "+f.Check), value.Replace(f.What+"\nhint: "+f.Hint))
	}
	return nil
}

// annotateGitLab writes a Code Quality report
// (https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format). A
// place is obligatory there: what has none is at the marker.
func annotateGitLab(u *ui.UI, found []finding) error {
	type lines struct {
		Begin int `json:"begin"`
	}
	type location struct {
		Path  string `json:"path"`
		Lines lines  `json:"lines"`
	}
	type issue struct {
		Description string   `json:"description"`
		CheckName   string   `json:"check_name"`
		Fingerprint string   `json:"fingerprint"`
		Severity    string   `json:"severity"`
		Location    location `json:"location"`
	}
	issues := []issue{}
	for _, f := range found {
		severity := "major"
		if f.Check == "secret" {
			severity = "blocker"
		}
		if f.File == "" {
			f.File = repo.Marker
		}
		sum := sha256.Sum256([]byte(f.Check + "\x00" + f.File + "\x00" + f.What))
		issues = append(issues, issue{f.What + "; hint: " + f.Hint, "wgkeys " + f.Check, fmt.Sprintf("%x", sum[:16]), severity,
			location{f.File, lines{max(f.Line, 1)}}})
	}
	return u.JSON(issues)
}

// fromTop has the files of findings as seen from the top of git's working tree,
// where code hosts look for them.
func fromTop(dir string, found []finding) []finding {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return found
	}
	top, err := git.Top(real)
	if err != nil {
		return found
	}
	for i, f := range found {
		if rel, err := filepath.Rel(top, filepath.Join(real, f.File)); err == nil && f.File != "" {
			found[i].File = filepath.ToSlash(rel)
		}
	}
	return found
}
