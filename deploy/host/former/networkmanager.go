package former

import (
	"context"
	"strings"

	"wgkeys/deploy/apply/linux/services"
)

// findNetworkManager asks for the profile that the interface has. One that it made up for
// an interface of somebody else is nobody's.
func findNetworkManager(ctx context.Context, link string) (*Manager, error) {
	if services.Taken(ctx, link, networkManager) == "" {
		return nil, nil
	}
	profile, err := run(ctx, "", "nmcli", "-g", "GENERAL.CON-UUID", "device", "show", link)
	if err != nil || strings.TrimSpace(profile) == "" {
		return nil, nil
	}
	m := &Manager{Name: networkManager, Link: link}
	profile = strings.TrimSpace(profile)
	all, err := run(ctx, "", "nmcli", "-g", "UUID,FILENAME", "connection", "show")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(all) {
		uuid, file, _ := strings.Cut(strings.TrimSpace(line), ":")
		if uuid != profile {
			continue
		}
		file = strings.ReplaceAll(file, `\:`, ":")
		switch {
		case strings.Contains(file, "/netplan-"):
			return nil, ofNetplan(link)
		case strings.HasPrefix(file, "/run/"):
			return nil, nil
		}
		m.Files = append(m.Files, file)
	}
	return m, nil
}
