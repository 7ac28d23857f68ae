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

// ofNetplan returns the error that refuses to take over a tunnel from netplan. netplan only
// generates the files of the program that runs the interface, so they would be there again
// after the next boot as long as the tunnel is in netplan's file. The user has to remove it
// from there, because that file often has the rest of the host's network, too.
func ofNetplan(link string) error {
	why, hint := whereInNetplan(link)
	return fault.New("cannot take over from netplan the tunnel", link, why, hint+
		"; then netplan generate, which leaves the interface as it is; then the same command again")
}

// whereInNetplan returns which of netplan's files has a tunnel, and how to take it out.
func whereInNetplan(link string) (why, hint string) {
	for _, dir := range netplanDirs {
		paths, _ := filepath.Glob(filepath.Join(dir, "*.yaml")) // the pattern is valid
		for _, path := range paths {
			has, alone := inNetplan(path, link)
			switch {
			case has && alone:
				return path + " has it, and nothing else", "mv " + words.ForShell(path) + " " + words.ForShell(path+".off")
			case has:
				return path + " has it, with others", "take " + link + " out of tunnels: in " + path
			}
		}
	}
	return "its file in /etc/netplan says how the interface is to be", "take " + link + " out of it"
}

// inNetplan reports whether a file of netplan has a tunnel, and nothing beside it.
func inNetplan(path, link string) (has, alone bool) {
	text, err := os.ReadFile(path)
	var file struct {
		Network map[string]yaml.Node
	}
	if err != nil || yaml.Unmarshal(text, &file) != nil {
		return false, false
	}
	var tunnels map[string]yaml.Node
	node, ok := file.Network["tunnels"]
	if !ok || node.Decode(&tunnels) != nil {
		return false, false
	}
	_, has = tunnels[link]
	alone = len(tunnels) == 1
	for key := range file.Network {
		alone = alone && slices.Contains([]string{"version", "renderer", "tunnels"}, key)
	}
	return has, alone
}
