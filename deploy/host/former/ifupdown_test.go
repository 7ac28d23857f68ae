package former

import "testing"

// TestWithoutStanzas: the lines of one interface become comments, and no other line
// changes.
func TestWithoutStanzas(t *testing.T) {
	for name, c := range map[string]struct {
		text, want  string
		found, rest bool
	}{
		"alone": {"auto wg0\niface wg0 inet static\n\taddress 10.0.0.1/24\n",
			"# wgkeys has it: auto wg0\n# wgkeys has it: iface wg0 inet static\n# wgkeys has it: \taddress 10.0.0.1/24\n", true,
			false},
		"both families, and others": {
			"# the host\nauto lo eth0 wg0\niface lo inet loopback\n\niface wg0 inet6 static\n  address fd00::1\n\niface wg0 inet static\n  address 10.0.0.1\n\niface eth0 inet dhcp\n  up true\n",
			"# the host\nauto lo eth0\n# wgkeys has it: auto lo eth0 wg0\niface lo inet loopback\n\n# wgkeys has it: iface wg0 inet6 static\n# wgkeys has it:   address fd00::1\n\n" +
				"# wgkeys has it: iface wg0 inet static\n# wgkeys has it:   address 10.0.0.1\n\niface eth0 inet dhcp\n  up true\n",
			true, true},
		"a continued line": {"iface wg0 inet static\n  up ip route add 10.0.0.0/8 \\\n     dev wg0\nallow-hotplug eth0\n",
			"# wgkeys has it: iface wg0 inet static\n# wgkeys has it:   up ip route add 10.0.0.0/8 \\\n# wgkeys has it:      dev wg0\nallow-hotplug eth0\n", true, true},
		"another that begins so": {"auto wg01\niface wg01 inet manual\n", "auto wg01\niface wg01 inet manual\n", false,
			true},
		"a name that is only listed": {"auto wg0\n", "# wgkeys has it: auto wg0\n", false, false},
		"sources": {"source /etc/network/interfaces.d/*\niface wg0 inet manual\nsource-directory more\n",
			"source /etc/network/interfaces.d/*\n# wgkeys has it: iface wg0 inet manual\nsource-directory more\n", false, true},
		"manual, with commands": {"iface wg0 inet manual\n\tup ip link add wg0 type wireguard\n",
			"# wgkeys has it: iface wg0 inet manual\n# wgkeys has it: \tup ip link add wg0 type wireguard\n", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, found, rest := withoutStanzas(c.text, "wg0")
			if got != c.want || found != c.found || rest != c.rest {
				t.Errorf("%v %v\n%s\nwant %v %v\n%s", found, rest, got, c.found, c.rest, c.want)
			}
			if again, found, _ := withoutStanzas(got, "wg0"); again != got || found {
				t.Errorf("once more: %v\n%s", found, again)
			}
		})
	}
}
