package nft

import (
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/keyring/fault"
)

// A kernel with nfnetlink but without nf_tables has no table to read. Its answer is
// provoked here by asking for a part of nfnetlink that no kernel has.
func TestNoTablesAtAll(t *testing.T) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const nobody = 255
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{Type: nobody << 8, Flags: netlink.Request | netlink.Acknowledge},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err == nil {
		t.Fatal("nfnetlink takes what nobody understands")
	}
	if got := notThere(err); got != nil {
		t.Errorf("told: %v", got)
	}
}

// The error about a missing module of nftables does not read like one about a missing file,
// and it does not prevent undoing a change that could not be made.
func TestNoModuleHasAHint(t *testing.T) {
	gone := apply.FilterChange{Link: "wg0", Old: &apply.Filter{Link: "wg0", Mark: apply.Mark{Value: 7}, IPv4: true}}
	made := gone.Inverse()[0].(apply.FilterChange)
	for _, err := range []error{unix.ENOENT, unix.EOPNOTSUPP} {
		got := noTable("wg0", made.New, err)
		if !strings.Contains(got.Error(), "this kernel lacks") || len(fault.Hints(got)) != 1 {
			t.Errorf("%v is reported as %v, hints %q", err, got, fault.Hints(got))
		}
		if got := noTable("wg0", gone.New, err); got != nil {
			t.Errorf("a table that cannot be there is not removed: %v", got)
		}
	}
	for _, c := range []apply.FilterChange{made, gone} {
		if got := noTable("wg0", c.New, unix.EINVAL); got != unix.EINVAL {
			t.Errorf("EINVAL is reported as %v", got)
		}
	}
}
