package linux

import (
	"runtime"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/keyring/fault"
)

// A kernel without IPv6 has no rules of that family, and a tunnel comes up there.
// This one stands for it with a family that has rules on no kernel.
func TestNoRulesOfAFamily(t *testing.T) {
	k, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if _, err := k.nl.RuleList(unix.AF_MPLS); err == nil {
		t.Fatal("this kernel has rules for MPLS: another family has to stand for none")
	}
	if rules, err := k.rules(unix.AF_MPLS); len(rules) > 0 || err != nil {
		t.Errorf("%v: %v", rules, err)
	}
	if rules, err := k.rules(unix.AF_INET); len(rules) == 0 || err != nil {
		t.Errorf("IPv4 has no rules: %v", err)
	}
}

// A kernel with nfnetlink but without nf_tables has no table to read: what it says
// is asked here of a part of nfnetlink that no kernel has.
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
	if told := notThere(err); told != nil {
		t.Errorf("told: %v", told)
	}
}

// That a module of nftables is missing reads like no missing file, and is no
// obstacle to undoing what could not be done for the lack of it.
func TestNoModuleHasAHint(t *testing.T) {
	gone := apply.FilterChange{Link: "wg0", Old: &apply.Filter{Link: "wg0", Mark: apply.Mark{Value: 7}, IPv4: true}}
	made := gone.Inverse()[0].(apply.FilterChange)
	for _, err := range []error{unix.ENOENT, unix.EOPNOTSUPP} {
		told := noFilter(made, err)
		if !strings.Contains(told.Error(), "this kernel lacks") || len(fault.Hints(told)) != 1 {
			t.Errorf("%v is told as %v, hints %q", err, told, fault.Hints(told))
		}
		if told := noFilter(gone, err); told != nil {
			t.Errorf("a table that cannot be there is not removed: %v", told)
		}
	}
	for _, c := range []apply.FilterChange{made, gone} {
		if told := noFilter(c, unix.EINVAL); told != unix.EINVAL {
			t.Errorf("EINVAL is told as %v", told)
		}
	}
}

// Root of a container that may not change its network is told how to start one
// that may, and not to become root.
func TestNoCapability(t *testing.T) {
	runtime.LockOSThread() // never given back
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	k, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capset(&header, &sets[0]); err != nil {
		t.Fatal(err)
	}
	err = k.Do(t.Context(), []apply.Change{apply.LinkChange{Name: "wg0", New: &apply.Link{MTU: 1420}}})
	if hints := fault.Hints(err); err == nil || len(hints) != 1 || !strings.Contains(hints[0], "--cap-add NET_ADMIN") {
		t.Errorf("%v: hints %q", err, hints)
	}
}
