package main

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"

	"wgkeys/cmd/internal/check"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/git"
)

// annotators are the forms in which code hosts take findings, to show each beside its line.
var annotators = map[string]func(*ui.UI, []check.Finding) error{"github": annotateGitHub, "gitlab": annotateGitLab}

// annotateGitHub writes workflow commands
// (https://docs.github.com/actions/reference/workflow-commands-for-github-actions).
func annotateGitHub(u *ui.UI, found []check.Finding) error {
	value := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range found {
		place := ""
		if f.File != "" {
			place = fmt.Sprintf("file=%s,line=%d,", property.Replace(f.File), max(f.Line, 1))
		}
		u.Printf("::error %stitle=%s::%s\n", place, property.Replace("wgkeys "+f.Check),
			value.Replace(f.What+"\nhint: "+f.Hint))
	}
	return nil
}

// annotateGitLab writes a Code Quality report
// (https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format). A location
// is mandatory there; a finding without one gets that of the marker.
func annotateGitLab(u *ui.UI, found []check.Finding) error {
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
		issues = append(issues, issue{f.What + "; hint: " + f.Hint, "wgkeys " + f.Check, fmt.Sprintf("%x", sum[:16]),
			severity,
			location{f.File, lines{max(f.Line, 1)}}})
	}
	return u.JSON(issues)
}

// fromTop makes the paths of findings relative to the top of git's working tree, where code
// hosts expect them.
func fromTop(dir string, found []check.Finding) []check.Finding {
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
