package main

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// release is the version of a release, "1.0.0", set by its build:
//
//	go build -ldflags '-X main.release=1.0.0' ./cmd/wgkeys
//
// In other builds it is empty, and the version is that of the module.
var release, commit, committed string

// textsOf is the date of the manual where the build does not know that of its commit. A
// clock has no place in a build: the same sources make the same bytes.
const textsOf = "2026-11-29"

// A build is which wgkeys this is.
type build struct {
	module, release string
	revision, time  string // of the commit; "" where the build does not know them
	modified        bool
	compiler        string // "go1.26.8"
}

// thisBuild is what the program knows of its own build.
func thisBuild() build {
	b := build{release: release, revision: commit, time: committed}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.module, b.compiler = info.Main.Version, info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.revision = s.Value
		case "vcs.time":
			b.time = s.Value
		case "vcs.modified":
			b.modified = s.Value == "true"
		}
	}
	return b
}

// version is one line that identifies this wgkeys. Hosts compare it with their own, so it
// says nothing about the machine.
func version() string { return thisBuild().String() }

// String is the version of the release or of the module, "devel" for a build from a working
// folder, with the commit and its date if the build knows them, and the version of Go.
func (b build) String() string {
	var about []string
	if b.revision != "" {
		about = append(about, fmt.Sprintf("commit %.12s", b.revision))
	}
	if b.time != "" {
		about = append(about, b.day())
	}
	if b.compiler != "" {
		about = append(about, b.compiler)
	}
	text := b.short()
	if about != nil {
		text += " (" + strings.Join(about, ", ") + ")"
	}
	if b.modified {
		text += ", with changes"
	}
	return text
}

// short is the name and the version alone.
func (b build) short() string {
	switch {
	case b.release != "":
		return "wgkeys v" + strings.TrimPrefix(b.release, "v")
	case b.module == "" || b.module == "(devel)":
		return "wgkeys devel"
	}
	return "wgkeys " + b.module
}

// day is that of the commit, or of the texts.
func (b build) day() string {
	if len(b.time) < len("2006-01-02") {
		return textsOf
	}
	return b.time[:len("2006-01-02")]
}
