package main

import (
	"encoding/json"
	"io"
	"strings"

	"wgkeys/deploy/install"
)

// An installed is what became of a host, for programs.
type installed struct {
	Program *installedProgram `json:"program,omitempty"` // of another host
	Files   []installedFile   `json:"files,omitempty"`   // with --up: key files
	Applied []json.RawMessage `json:"applied,omitempty"` // with --up: a tunnel each
	Steps   []string          `json:"steps,omitempty"`   // for the next boot
}

type installedProgram struct {
	Path     string `json:"path"`
	Action   string `json:"action"`
	Arch     string `json:"arch"`
	Version  string `json:"version,omitempty"` // "": of a dry run, or of one that cannot be run
	Was      string `json:"was,omitempty"`
	Packaged bool   `json:"packaged"`
	First    string `json:"first_in_path,omitempty"` // another wgkeys that is found before it
}

type installedFile struct {
	Path   string `json:"path"`
	Action string `json:"action"`
}

func programOf(r install.Result) *installedProgram {
	p := &installedProgram{Path: install.Place, Action: string(r.Action), Arch: string(r.Arch), Version: r.Version,
		Was: r.Was, Packaged: r.Packaged, First: r.First}
	if r.Packaged {
		p.Path = install.PackagePlace
	}
	return p
}

// linesOf are the lines of a text.
func linesOf(text io.Reader) (lines []string) {
	all, _ := io.ReadAll(text) // it is in memory
	for line := range strings.Lines(string(all)) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}
