package session

import (
	"os"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/apply/linux/device"
)

// WhyGone tells what became of the interface of a tunnel that was applied here and
// is not there any more, or nothing where it was not applied. A device in user space
// that ends as it should removes its socket.
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
