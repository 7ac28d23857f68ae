package former

import (
	"context"
	"slices"
	"strings"

	"wgkeys/deploy/apply/linux/services"
)

// findNetworkManager asks for the profile that the interface has. Where it has none of
// NetworkManager's own, for it was up when that came to it (one that is given back is, until
// the next start), its profiles are those of WireGuard that name the interface.
func findNetworkManager(ctx context.Context, link string) (*Manager, error) {
	if services.Taken(ctx, link, networkManager) == "" {
		return nil, nil
	}
	active, err := run(ctx, "", "nmcli", "-g", "GENERAL.CON-UUID", "device", "show", link)
	if err != nil {
		return nil, nil
	}
	profiles, err := nmProfiles(ctx)
	if err != nil {
		return nil, err
	}
	has := func(p nmProfile) bool { return p.uuid == strings.TrimSpace(active) && !p.passing() }
	if !slices.ContainsFunc(profiles, has) {
		has = func(p nmProfile) bool { return p.wireGuard && !p.passing() && p.names(ctx, link) }
	}
	m := &Manager{Name: networkManager, Link: link}
	for _, p := range profiles {
		if !has(p) {
			continue
		}
		if strings.Contains(p.file, "/netplan-") {
			return nil, ofNetplan(link)
		}
		m.Files = append(m.Files, p.file)
	}
	if len(m.Files) == 0 {
		return nil, nil
	}
	return m, nil
}

// An nmProfile is a connection of nmcli(1) and its file.
type nmProfile struct {
	uuid, file string
	wireGuard  bool
}

// passing reports whether the profile ends with the host's run, as one does that was made
// up for an interface of somebody else.
func (p nmProfile) passing() bool {
	return strings.HasPrefix(p.file, "/run/") && !strings.Contains(p.file, "/netplan-")
}

// names reports whether the profile is for the interface.
func (p nmProfile) names(ctx context.Context, link string) bool {
	name, err := run(ctx, "", "nmcli", "-g", "connection.interface-name", "connection", "show", p.uuid)
	return err == nil && strings.TrimSpace(name) == link
}

func nmProfiles(ctx context.Context) (all []nmProfile, err error) {
	out, err := run(ctx, "", "nmcli", "-g", "UUID,TYPE,FILENAME", "connection", "show")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		uuid, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		kind, file, _ := strings.Cut(rest, ":")
		all = append(all, nmProfile{uuid, strings.ReplaceAll(file, `\:`, ":"), kind == "wireguard"})
	}
	return all, nil
}
