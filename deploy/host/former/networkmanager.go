package former

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"wgkeys/deploy/apply/linux/services"
)

// findNetworkManager finds the profile with which NetworkManager manages the interface.
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
	return byProfiles(profiles, link, func(p nmProfile) bool { return p.uuid == strings.TrimSpace(active) })
}

// findProfiles looks for WireGuard profiles that name the interface. After an interface was
// given back, NetworkManager does not use them until its next start: it leaves the
// interface alone, or has a generated profile for it.
func findProfiles(ctx context.Context, link string) (*Manager, error) {
	if !services.Running(ctx, networkManager) {
		return nil, nil
	}
	profiles, err := nmProfiles(ctx)
	if err != nil { // it does not answer, so it does not manage the interface
		return nil, nil
	}
	return byProfiles(profiles, link, func(p nmProfile) bool { return p.wireGuard && p.names(ctx, link) })
}

func byProfiles(profiles []nmProfile, link string, has func(nmProfile) bool) (*Manager, error) {
	m, found := &Manager{Name: networkManager, Link: link}, false
	for _, p := range profiles {
		if p.passing() || !has(p) {
			continue
		}
		found = true
		switch {
		case !strings.Contains(p.file, "/netplan-"):
			m.Files = append(m.Files, p.file)
		case there(p.file) || fromNetplan(link):
			return nil, ofNetplan(link)
		}
		// Otherwise netplan has removed its file, and NetworkManager goes on with what it read.
	}
	if !found {
		return nil, nil
	}
	return m, nil
}

// there reports whether a file exists.
func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// An nmProfile is a connection of nmcli(1) and its file.
type nmProfile struct {
	uuid, file string
	wireGuard  bool
}

// passing reports whether NetworkManager generated the profile for an interface of another
// program. A user's profile for the present run of the host is below /run, too.
func (p nmProfile) passing() bool {
	if p.file == "" {
		return true
	}
	if !strings.HasPrefix(p.file, "/run/") {
		return false
	}
	text, err := readIfThere(p.file)
	return err != nil || madeUp(text)
}

// madeUp reports whether a keyfile is marked as generated, in its group .nmmeta.
func madeUp(text string) bool {
	meta := false
	for line := range strings.Lines(text) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "["):
			meta = line == "[.nmmeta]"
		case meta && (line == "nm-generated=true" || line == "external=true"):
			return true
		}
	}
	return false
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
