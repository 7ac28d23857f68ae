package keyring

import (
	"errors"
	"strings"
)

// CheckPortable returns why a clone on Windows cannot have files with this name of a host or a
// tunnel, nil if it can: Windows keeps the name for a device, also if an ending follows
// ("Naming Files, Paths, and Namespaces" in its documentation).
func CheckPortable(name string) error {
	device, _, _ := strings.Cut(strings.ToLower(name), ".")
	switch device {
	case "con", "prn", "aux", "nul":
		return errDevice
	}
	if number, ok := strings.CutPrefix(device, "com"); ok && oneToNine(number) {
		return errDevice
	}
	if number, ok := strings.CutPrefix(device, "lpt"); ok && oneToNine(number) {
		return errDevice
	}
	return nil
}

func oneToNine(s string) bool { return len(s) == 1 && '1' <= s[0] && s[0] <= '9' }

var errDevice = errors.New("on Windows the name is that of a device, and no clone there can have its files")
