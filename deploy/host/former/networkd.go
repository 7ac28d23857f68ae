package former

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/deploy/apply/linux/services"
)

// networkDirs are where systemd-networkd looks for its files, except those of packages.
var networkDirs = []string{"/etc/systemd/network", "/run/systemd/network"}

func findNetworkd(ctx context.Context, link string) (*Manager, error) {
	if services.Taken(ctx, link, networkd) == "" {
		return nil, nil
	}
	m := &Manager{Name: networkd, Link: link}
	for _, dir := range networkDirs {
		files, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, f := range files {
			path := filepath.Join(dir, f.Name())
			if !isFor(path, link) {
				continue
			}
			if strings.HasPrefix(f.Name(), "10-netplan-") {
				return nil, ofNetplan(link)
			}
			m.Files = append(m.Files, path)
		}
	}
	// Without a .netdev file it only manages an interface that another program made.
	if !slices.ContainsFunc(m.Files, func(f string) bool { return filepath.Ext(f) == ".netdev" }) {
		return nil, nil
	}
	return m, nil
}

// isFor reports whether a file is for one interface only: its NetDev's name, or the one
// name that it matches (systemd.netdev(5), systemd.network(5)). Drop-ins belong to it.
func isFor(path, link string) bool {
	section := map[string]string{".netdev": "[NetDev]", ".network": "[Match]"}[filepath.Ext(path)]
	text, err := os.ReadFile(path)
	if section == "" || err != nil {
		return false
	}
	in, only := false, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			in = line == section
		}
		if key, value, _ := strings.Cut(line, "="); in && strings.TrimSpace(key) == "Name" {
			only = strings.TrimSpace(value) == link
		}
	}
	return only
}
