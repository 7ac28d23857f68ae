// Package ifupdown reads and writes the stanzas of /etc/network/interfaces, as ifupdown
// (Debian's, interfaces(5) of 0.8.41) and ifupdown-ng (0.12) read them.
//
// The two do not always do what a stanza seems to say, and the device is what they would
// make. An address without a prefix length is a /128 to ifupdown, or as wide as its class
// was before 1993, but a /64 or /24 to ifupdown-ng. A file is read as ifupdown-ng does only
// if it has a word that ifupdown does not know.
//
// WireGuard's part, the keys and the peers, is in a file for `wg setconf`, whose path is
// the device's Conf.
package ifupdown

import (
	"wgkeys/deploy/tunnel/foreign"
)

const tool = "ifupdown"

// Parse reads files of interfaces(5) together, because a stanza of one may extend one of
// another. The devices are the WireGuard interfaces, in the order of the files. Stanzas of
// other interfaces are ignored.
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
