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
	why, hint := "its file in /etc/netplan says how the interface is to be", "take "+link+" out of it"
	for _, dir := range netplanDirs {
		paths, _ := filepath.Glob(filepath.Join(dir, "*.yaml")) // the pattern is valid
		for _, path := range paths {
			has, alone := inNetplan(path, link)
			switch {
			case !has:
				continue
			case alone:
				why = path + " has it, and nothing else"
				hint = "mv " + words.ForShell(path) + " " + words.ForShell(path+".off")
			default:
				why = path + " has it, with others"
				hint = "take " + link + " out of tunnels: in " + path
			}
			return fault.New("cannot take over from netplan the tunnel", link, why, hint+
				"; then netplan generate, which leaves the interface as it is; then the same command again")
		}
	}
	return fault.New("cannot take over from netplan the tunnel", link, why, hint+
		"; then netplan generate, which leaves the interface as it is; then the same command again")
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
