package former

import (
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// netplanDirs are where netplan looks for its files (netplan(5)), those of the user first.
var netplanDirs = []string{"/etc/netplan", "/run/netplan", "/lib/netplan"}

// ofNetplan returns the error that refuses to take over a tunnel from netplan, of which a file
// made by netplan is there. netplan only generates the files of the program that runs the
// interface, so they would be there again after the next boot as long as the tunnel is in
// netplan's file. The user has to remove it from there, because that file often has the rest of
// the host's network, too.
func ofNetplan(link string) error {
	why, hint := whereInNetplan(link)
	switch {
	case why == "":
		why, hint = "no file of netplan has it any more, and what was made of it is still there", "netplan generate"
	case hint != "":
		hint += "; then netplan generate"
	}
	return fault.New("cannot take over from netplan the tunnel", link, why, hint+
		", which leaves the interface as it is; then the same command again")
}

// fromNetplan reports whether netplan would make files for the tunnel again.
func fromNetplan(link string) bool {
	why, _ := whereInNetplan(link)
	return why != ""
}

// whereInNetplan returns which of netplan's files has a tunnel, and how to take it out; "": none
// has it.
func whereInNetplan(link string) (why, hint string) {
	for _, dir := range netplanDirs {
		paths, _ := filepath.Glob(filepath.Join(dir, "*.yaml")) // the pattern is valid
		for _, path := range paths {
			has, alone, err := inNetplan(path, link)
			switch {
			case err != nil:
				return path + " cannot be read, and may have it", "take " + link + " out of it, or mend it"
			case has && alone:
				return path + " has it, and nothing else", "mv " + words.ForShell(path) + " " + words.ForShell(path+".off")
			case has:
				return path + " has it, with others", "take " + link + " out of tunnels: in " + path
			}
		}
	}
	return "", ""
}

// inNetplan reports whether a file of netplan has a tunnel, and nothing beside it.
func inNetplan(path, link string) (has, alone bool, err error) {
	text, err := os.ReadFile(path)
	var file struct {
		Network map[string]yaml.Node
	}
	if err == nil {
		err = yaml.Unmarshal(text, &file)
	}
	if err != nil {
		return false, false, err
	}
	var tunnels map[string]yaml.Node
	node, ok := file.Network["tunnels"]
	if !ok {
		return false, false, nil
	}
	if err := node.Decode(&tunnels); err != nil {
		return false, false, err
	}
	_, has = tunnels[link]
	alone = len(tunnels) == 1
	for key := range file.Network {
		alone = alone && slices.Contains([]string{"version", "renderer", "tunnels"}, key)
	}
	return has, alone, nil
}
