package main

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/lab"
	netlink "wgkeys/deploy/lab/labtest"
)

// No verb sends the kernel a byte that nobody wrote, nor does the device in user
// space. [netlink.Request.Foreign] says where there could be one.
func TestLabApplyBytes(t *testing.T) {
	u := firstUsers(t)
	u.tunnel(faultTunnel)
	u.clone()
	u.must(u.Shale, "wgkeys apply")
	const verbs = "wgkeys apply && wgkeys apply && wgkeys plan && { wgkeys status; wgkeys down; }"
	said := u.must(u.Basalt, "strace "+strings.Join(netlink.TraceArgs("/root/trace"), " ")+" sh -c '"+verbs+"' 2>&1")
	requests := netlink.Requests(u.read(u.Basalt, "/root/trace"), "/usr/local/bin/wgkeys")
	u.must(u.Basalt, "rm /root/trace")
	u.must(u.Shale, "wgkeys down")
	sent := map[int]int{}
	for _, r := range requests {
		sent[r.Protocol]++
		for _, found := range r.Foreign() {
			t.Errorf("netlink protocol %d: %s, in % x", r.Protocol, found, r.Bytes)
		}
	}
	want := []int{unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER}
	if lab.HasWireGuard() {
		want = append(want, unix.NETLINK_GENERIC)
	}
	for _, protocol := range want {
		if sent[protocol] == 0 {
			t.Errorf("no request of netlink protocol %d was seen: %v\n%s", protocol, sent, said)
		}
	}
	t.Logf("requests by protocol: %v", sent)
}
