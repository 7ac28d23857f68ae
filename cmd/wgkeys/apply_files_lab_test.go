package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// TestLabApplySysctlFiles: what a file of the host, such as those for hardening, would take away from
// the tunnel at the next "sysctl --system" is a note before that happens, and nothing else is.
func TestLabApplySysctlFiles(t *testing.T) {
	u := labtest.FirstUsers(t)
	u.Tunnel(fullTunnel)
	u.Clone()
	u.Must(u.Shale, "mkdir -p /etc/sysctl.d && wgkeys apply")
	for _, c := range []struct{ name, text, lost string }{
		{"IPv4 is not forwarded", "net.ipv4.ip_forward = 0", "net.ipv4.ip_forward"},
		{"nor IPv6", "# hardening\nnet.ipv6.conf.all.forwarding=0", "orward"},
		{"advertisements", "net.ipv6.conf.eth0.accept_ra = 0", "net.ipv6.conf.eth0.accept_ra"},
		{"a sysctl of the tunnel file", "-net/ipv4/conf/all/log_martians=0", "net.ipv4.conf.all.log_martians"},
		{"the values that the tunnel needs", "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.log_martians = 1", ""},
		{"a parameter that no tunnel needs", "net.ipv4.conf.all.send_redirects = 0", ""},
		{"the last line counts", "net.ipv4.ip_forward = 0\nnet.ipv4.ip_forward = 1", ""},
	} {
		u.Write(u.Shale, "/etc/sysctl.d/60-hardening.conf", c.text+"\n")
		r := u.Run(u.Shale, "wgkeys plan")
		_, says, noted := strings.Cut(r.Stderr, "/etc/sysctl.d/60-hardening.conf:")
		if r.Code != 0 || r.Stdout != "" || noted != (c.lost != "") || !strings.Contains(says, c.lost) {
			t.Errorf("%s: plan exits %d:\n%s%s", c.name, r.Code, r.Stdout, r.Stderr)
		}
		u.Must(u.Shale, "sysctl -q --system")
		r = u.Run(u.Shale, "wgkeys plan")
		// With accept_ra=0 another program may handle the advertisements.
		if (r.Code == ui.ExitFindings) != noted && c.name != "advertisements" {
			t.Errorf("%s: after sysctl --system plan exits %d:\n%s", c.name, r.Code, r.Stdout)
		}
		u.Must(u.Shale, "rm /etc/sysctl.d/60-hardening.conf && sysctl -qw net.ipv6.conf.eth0.accept_ra=2 && wgkeys apply")
	}
}
