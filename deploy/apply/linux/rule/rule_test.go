package rule

import (
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A kernel without IPv6 has no rules of that family, and a tunnel comes up there.
// This one stands for it with a family that has rules on no kernel.
func TestNoRulesOfAFamily(t *testing.T) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	if _, err := nl.RuleList(unix.AF_MPLS); err == nil {
		t.Fatal("this kernel has rules for MPLS: another family has to stand for none")
	}
	if rules, err := list(nl, unix.AF_MPLS); len(rules) > 0 || err != nil {
		t.Errorf("%v: %v", rules, err)
	}
	if rules, err := list(nl, unix.AF_INET); len(rules) == 0 || err != nil {
		t.Errorf("IPv4 has no rules: %v", err)
	}
}
