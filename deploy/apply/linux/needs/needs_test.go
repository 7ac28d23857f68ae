package needs

import (
	"slices"
	"testing"
)

// TestSetBy: a file needs a parameter if it sets it, in any notation, to its present value.
func TestSetBy(t *testing.T) {
	keys := map[string]bool{forward4: true, forward6: true, sourceMark: true}
	now := map[string]string{forward4: "1", forward6: "1", sourceMark: "1", "net/ipv4/tcp_syncookies": "1"}
	for text, want := range map[string][]string{
		"net.ipv4.ip_forward=1\n":                               {forward4},
		"net/ipv4/ip_forward = 1":                               {forward4},
		"  -net.ipv4.ip_forward\t=\t1  \n":                      {forward4}, // "-": ignore errors
		"net.ipv4.ip_forward=1\nnet.ipv4.ip_forward=1\n":        {forward4},
		"net.ipv4.ip_forward=1\nnet/ipv6/conf/all/forwarding=1": {forward4, forward6},
		"net.ipv4.ip_forward=0\n":                               nil,
		"net.ipv4.ip_forward\n":                                 nil,
		"#net.ipv4.ip_forward=1\n":                              nil,
		"# net.ipv4.ip_forward = 1\n;net.ipv4.ip_forward=1\n":   nil,
		"net.ipv4.tcp_syncookies=1\n":                           nil,
		"net.ipv4.conf.*.src_valid_mark=1\n":                    nil,
	} {
		if got := setBy(text, keys, now); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// TestInOrder: a file of /etc takes the place of one of the same name, names decide between folders,
// and /etc/sysctl.conf comes last.
func TestInOrder(t *testing.T) {
	got := inOrder([]string{"/etc/sysctl.conf", "/etc/sysctl.d/50-b.conf", "/etc/sysctl.d/90-a.conf",
		"/run/sysctl.d/10-r.conf", "/usr/lib/sysctl.d/50-b.conf", "/usr/lib/sysctl.d/60-c.conf"})
	want := []string{"/run/sysctl.d/10-r.conf", "/etc/sysctl.d/50-b.conf", "/usr/lib/sysctl.d/60-c.conf",
		"/etc/sysctl.d/90-a.conf", "/etc/sysctl.conf"}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
