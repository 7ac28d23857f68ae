package main

import (
	"fmt"
	"runtime/debug"
)

// version tells which wgkeys this is: the version of its module, "devel" for one
// built from a working folder, and the commit where the build knows it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "wgkeys devel"
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	return versionOf(info.Main.Version, set["vcs.revision"], set["vcs.modified"] == "true")
}

func versionOf(module, revision string, modified bool) string {
	if module == "" || module == "(devel)" {
		module = "devel"
	}
	text := "wgkeys " + module
	if revision != "" {
		text += fmt.Sprintf(" (commit %.12s)", revision)
	}
	if modified {
		text += ", with changes"
	}
	return text
}
