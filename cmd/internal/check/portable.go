package check

import (
	"path"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// portable finds names of hosts and tunnels whose files cannot be in every clone: Windows keeps
// some for devices, and there and on macOS names that differ in case are one file.
func (c *checker) portable() {
	var hosts []string
	seen := map[string]string{} // tunnels by their name in lower case
	for _, t := range c.parsed {
		f := Finding{Check: "name", Tunnel: t.Name, Hint: "wgkeys mv -t " + t.Name + " NEW"}
		at := path.Join(tunnel.Dir, t.Name+".toml")
		if err := keyring.CheckPortable(t.Name); err != nil {
			c.add(f, at, 0, "tunnel %q needs another name: %v", t.Name, err)
		}
		lower := strings.ToLower(t.Name)
		if other, ok := seen[lower]; ok {
			c.add(f, at, 0, "tunnels %q and %q differ in case only, and their files are the same ones in a clone on macOS "+
				"or Windows", other, t.Name)
		} else {
			seen[lower] = t.Name
		}
		hosts = append(hosts, t.Hosts()...)
	}
	slices.Sort(hosts)
	for _, host := range slices.Compact(hosts) {
		if err := keyring.CheckPortable(host); err != nil {
			c.add(Finding{Check: "name", Host: host, Hint: "wgkeys mv " + host + " NEW"}, "", 0,
				"host %q needs another name: %v", host, err)
		}
	}
}
