package link

import (
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestTentative: a duplicate address stays tentative, and is not waited for.
func TestTentative(t *testing.T) {
	for flags, want := range map[int]bool{
		0: false, unix.IFA_F_PERMANENT: false, unix.IFA_F_TENTATIVE | unix.IFA_F_PERMANENT: true,
		unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED: false, unix.IFA_F_DADFAILED: false,
	} {
		if got := tentative(netlink.Addr{Flags: flags}); got != want {
			t.Errorf("%#x: %t", flags, got)
		}
	}
}
