package apply

import (
	"strings"

	"wgkeys/deploy/apply/journal"
)

// Programs that manage a host's network and may take our interface for theirs.
const (
	Networkd       = "systemd-networkd"
	NetworkManager = "NetworkManager"
)

// An Unmanaged is how one of these programs, which is installed, stands to the
// link. It may start at any moment, and reads its files then.
type Unmanaged struct {
	Manager string
	File    string // where it reads that it is to leave the link alone
	Reads   bool   // it can read that there, and no other file comes before
	Taken   string // what the program itself calls the link where it has taken it; "": it leaves it alone
}

// A ManagerChange tells a manager to leave the link alone (Add), or no more.
type ManagerChange struct {
	Link string
	Unmanaged
	Runs bool // it has to read its files again
	Add  bool
}

func (c ManagerChange) Resource() journal.Resource {
	return journal.Unmanaged.Of(c.Link + " " + c.Manager)
}

// Inverse leaves a manager alone that had been told before.
func (c ManagerChange) Inverse() []Change {
	if c.Add && c.Reads {
		return nil
	}
	c.Add, c.Taken = !c.Add, ""
	return []Change{c}
}

func (c ManagerChange) String() string {
	s := "rm " + c.File
	if c.Add {
		s = "printf '" + strings.ReplaceAll(UnmanagedText(c.Link, c.Manager), "\n", "\\n") + "\\n' > " + c.File
	}
	if !c.Runs {
		return s
	}
	if c.Manager == Networkd {
		return s + " && networkctl reload"
	}
	s += " && nmcli general reload conf"
	if c.Add && c.Taken != "" {
		s += " && nmcli device set " + c.Link + " managed no"
	}
	return s
}

// ManagerFile is where a manager reads that it is to leave a link alone. It is
// below /run: nothing of it outlives a reboot.
func ManagerFile(link, manager string) string {
	if manager == NetworkManager {
		return "/run/NetworkManager/conf.d/wgkeys-" + link + ".conf"
	}
	return "/run/systemd/network/05-wgkeys-" + link + ".network"
}

// FirstFile is the same where another file comes before that one. The first
// .network file that matches an interface counts, whatever folder it is in
// (systemd.network(5)), and a minus comes before all digits and letters.
func FirstFile(link string) string { return "/run/systemd/network/-wgkeys-" + link + ".network" }

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

func (c ManagerChange) entries(_ journal.Entries) []line {
	if c.Add {
		return []line{{c.Resource(), journal.Entry{Set: c.File}}}
	}
	return nil
}

func (c ManagerChange) restores(_ journal.Entry, _ journal.Entries) bool {
	return len(c.entries(nil)) == 0
}
func (ManagerChange) trusted() bool       { return false }
func (ManagerChange) traits() traits      { return traits{} }
func (ManagerChange) TouchesKernel() bool { return true }
