// Package ifupdown reads and writes the stanzas of /etc/network/interfaces, as ifupdown
// (Debian's, interfaces(5) of 0.8.41) and ifupdown-ng (0.12) read them.
//
// What the two make of a stanza is not always what it seems to say, and the device is
// what they make of it: an address without a length is a /128 to ifupdown, or as wide as
// its class was before 1993, and a /64 or /24 to ifupdown-ng. Which of the two reads the
// file is told by its words alone: where nothing is ifupdown-ng's, it is ifupdown.
//
// WireGuard's own part, the keys and the peers, is in a file for `wg setconf`, which a
// device names as its Conf.
package ifupdown

import (
	"wgkeys/deploy/tunnel/foreign"
)

const tool = "ifupdown"

// Parse reads files of interfaces(5) together: a stanza of one may extend one of
// another. The devices are the WireGuard interfaces, in the order of the files; stanzas
// of other interfaces are left alone.
func Parse(files []foreign.File) ([]*foreign.Device, error) {
	r := &foreign.Reader{Tool: tool}
	c := &config{Reader: r}
	for _, f := range files {
		c.read(f)
	}
	devices := c.devices()
	if len(devices) == 0 && r.Err() == nil && len(files) > 0 {
		r.Wrong(foreign.Pos{File: files[0].Name, Line: 1}, "",
			"no WireGuard interface is in it: none has `ip link add … type wireguard`, `wg setconf` or `use wireguard`")
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return devices, nil
}
