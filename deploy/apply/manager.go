package apply

import (
	"slices"
	"strings"
)

// Programs that manage a host's network and may take our interface for theirs.
const (
	Networkd       = "systemd-networkd"
	NetworkManager = "NetworkManager"
)

// A ManagerChange tells a manager to leave the link alone (Add), or no more.
type ManagerChange struct {
	Link, Manager string
	Add           bool
}

func (c ManagerChange) Resource() string  { return "unmanaged " + c.Link + " " + c.Manager }
func (c ManagerChange) Inverse() []Change { c.Add = !c.Add; return []Change{c} }

func (c ManagerChange) String() string {
	file := ManagerFile(c.Link, c.Manager)
	reload := "networkctl reload"
	if c.Manager == NetworkManager {
		reload = "nmcli general reload conf"
	}
	if c.Add {
		text := strings.ReplaceAll(UnmanagedText(c.Link, c.Manager), "\n", "\\n")
		return "printf '" + text + "\\n' > " + file + " && " + reload
	}
	return "rm " + file + " && " + reload
}

// ManagerFile is where a manager reads that it is to leave a link alone. It is
// below /run: nothing of it outlives a reboot.
func ManagerFile(link, manager string) string {
	if manager == NetworkManager {
		return "/run/NetworkManager/conf.d/wgkeys-" + link + ".conf"
	}
	return "/run/systemd/network/05-wgkeys-" + link + ".network"
}

// UnmanagedText is what it reads there, see NetworkManager.conf(5) and
// systemd.network(5).
func UnmanagedText(link, manager string) string {
	if manager == NetworkManager {
		// Not keyfile's unmanaged-devices: NetworkManager.conf, read after what is
		// below /run, would replace the whole list.
		return "[device-wgkeys-" + link + "]\nmatch-device=interface-name:=" + link + "\nmanaged=0"
	}
	return "[Match]\nName=" + link + "\n[Link]\nUnmanaged=yes"
}

// tellManagers comes before the link: a manager that matches every interface
// must never see it as one to configure.
func (p *planner) tellManagers() {
	for _, manager := range p.state.Managers {
		c := ManagerChange{p.view.Tunnel, manager, true}
		if !slices.Contains(p.state.Unmanaged, manager) {
			p.step(c, "%s is to leave the interface alone", manager)
		}
	}
}
