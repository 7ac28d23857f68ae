package linux_test

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
)

// An error of the kernel has its message, and can be recognised by its number.
func TestReason(t *testing.T) {
	h, _ := ready(t)
	tooLong := apply.LinkChange{Name: "wg0", Old: &apply.Link{MTU: 1420, Up: true},
		New: &apply.Link{MTU: math.MaxInt32, Up: true}}
	far := apply.Route{Prefix: prefix("192.168.9.0/24"), Gateway: netip.MustParseAddr("203.0.113.9")}
	for _, c := range []struct {
		change apply.Change
		errno  unix.Errno
		reason string
	}{
		{apply.RouteChange{Link: "wg0", New: &far}, unix.ENETUNREACH, "Nexthop has invalid gateway"},
		{tooLong, unix.EINVAL, "mtu greater than device maximum"},
	} {
		err := h.Do(t.Context(), []apply.Change{c.change})
		if !errors.Is(err, c.errno) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, want %v with %q", c.change, err, c.errno, c.reason)
		}
	}
}
