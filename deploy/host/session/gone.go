package session

import (
	"os"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/apply/linux/device"
)

// WhyGone says what happened to the interface of a tunnel that was applied here and no
// longer exists; "" if the tunnel was not applied. A userspace device that ends normally
// removes its socket.
func WhyGone(name string) string {
	j, err := journal.Open(linux.RunDir, name)
	if err != nil || j.LinkNumber(name) == 0 {
		return ""
	}
	why := "somebody removed the interface " + name
	if _, err := os.Stat(device.Socket(name)); err == nil {
		why = "its device in user space died, and with it the interface " + name
	}
	for resource := range j.Entries {
		if resource.Kind == journal.Unreachable {
			return why + "; what is to go through it goes nowhere meanwhile"
		}
	}
	return why
}

// MadeDevice reports whether an apply made the interface of a tunnel, and with it its
// userspace device if it has one.
func MadeDevice(name string) bool {
	j, err := journal.Open(linux.RunDir, name)
	return err == nil && j.LinkNumber(name) != 0
}
