package main

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
	netlink "wgkeys/deploy/lab/labtest"
)

// No verb sends the kernel a byte that nobody wrote, nor does the device in user
// space. [netlink.Request.Foreign] says where there could be one.
func TestLabApplyBytes(t *testing.T) {
	u := labtest.FirstUsers(t)
	u.Tunnel(faultTunnel)
	u.Clone()
	u.Must(u.Shale, "wgkeys apply")
	const verbs = "wgkeys apply && wgkeys apply && wgkeys plan && { wgkeys status; wgkeys down; }"
	said := u.Must(u.Basalt, "strace "+strings.Join(netlink.TraceArgs("/root/trace"), " ")+" sh -c '"+verbs+"' 2>&1")
	requests := netlink.Requests(u.Read(u.Basalt, "/root/trace"), "/usr/local/bin/wgkeys")
	u.Must(u.Basalt, "rm /root/trace")
	u.Must(u.Shale, "wgkeys down")
	sent := map[int]int{}
	for _, r := range requests {
		sent[r.Protocol]++
		for _, found := range r.Padding() {
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
