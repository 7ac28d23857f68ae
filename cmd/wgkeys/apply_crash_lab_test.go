package main

import (
	"fmt"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/lazyregexp"
)

// killed is the status that a shell gives to a process killed with SIGKILL.
const killed = 128 + 9

// Killed before or after any change, apply leaves a host that down brings back
// to what it was, and that the next apply completes.
func TestLabApplyKilled(t *testing.T) {
	u := labtest.FirstUsers(t)
	before, target, steps := applyFull(u)
	for n := 1; n <= steps; n++ {
		for _, where := range []string{"kill-before", "kill-after"} {
			point := fmt.Sprintf("%s %d", where, n)
			killAt(u, point, "wgkeys apply")
			downLeavesNothing(u, point)
			killAt(u, point, "wgkeys apply")
			u.Must(u.Shale, "wgkeys apply")
			if diff := demo.LineDiff(target, netAndPeers(u)); diff != "" {
				t.Errorf("shale is not as wanted after %s, then apply:\n%s", point, diff)
			}
			downLeavesNothing(u, point)
		}
		u.Same(u.Shale, before, fmt.Sprintf("killed at change %d, then down, or apply and down", n))
	}
	u.Must(u.Shale, fmt.Sprintf("WGKEYS_TEST_FAULT='kill-before %d' wgkeys apply && wgkeys down", steps+1))
	t.Logf("killed before and after each of %d changes", steps)
}

// Killed before or after any change, down is completed by the next one.
func TestLabDownKilled(t *testing.T) {
	u := labtest.FirstUsers(t)
	before, _, _ := applyFull(u)
	u.Must(u.Shale, "wgkeys apply")
	steps := countChanges(u, "wgkeys down -n")
	for n := 1; n <= steps; n++ {
		for _, where := range []string{"kill-before", "kill-after"} {
			point := fmt.Sprintf("%s %d", where, n)
			u.Must(u.Shale, "wgkeys apply")
			killAt(u, point, "wgkeys down")
			downLeavesNothing(u, point)
		}
		u.Same(u.Shale, before, fmt.Sprintf("down killed at change %d, then down", n))
	}
	u.Must(u.Shale, fmt.Sprintf("wgkeys apply; WGKEYS_TEST_FAULT='kill-before %d' wgkeys down", steps+1))
	t.Logf("killed before and after each of %d changes", steps)
}

// Killed while it changes a tunnel that is up, apply leaves one that down takes
// down like any other.
func TestLabApplyChangeKilled(t *testing.T) {
	u := labtest.FirstUsers(t)
	before, _, _ := applyFull(u)
	changed := strings.NewReplacer(`log_martians" = "1"`, `log_martians" = "2"`, "= 1400", "= 1300", "ndp_proxy = true\n",
		"").Replace(fullTunnel)
	use := func(text string) {
		u.Tunnel(text)
		u.Clone()
	}
	u.Must(u.Shale, "wgkeys apply")
	use(changed)
	steps := countChanges(u, "wgkeys plan")
	u.Must(u.Shale, "wgkeys down")
	for n := 1; n <= steps; n++ {
		for _, where := range []string{"kill-before", "kill-after"} {
			point := fmt.Sprintf("%s %d", where, n)
			use(fullTunnel)
			u.Must(u.Shale, "wgkeys apply")
			use(changed)
			killAt(u, point, "wgkeys apply")
			downLeavesNothing(u, point)
		}
		u.Same(u.Shale, before, fmt.Sprintf("killed at change %d, then down", n))
	}
	t.Logf("killed before and after each of %d changes", steps)
}

// A change that fails takes those before it back, and the error says so.
func TestLabApplyFails(t *testing.T) {
	u := labtest.FirstUsers(t)
	before, _, steps := applyFull(u)
	for n := 1; n <= steps; n++ {
		r := u.Run(u.Shale, fmt.Sprintf("WGKEYS_TEST_FAULT='fail %d' wgkeys apply -q", n))
		if r.Code != ui.ExitFailed || !strings.HasPrefix(r.Stderr, `wgkeys: error: cannot change tunnel "wg0": `) ||
			!strings.HasSuffix(r.Stderr, ": this change was made to fail; the tunnel is as it was before\n") {
			t.Errorf("fail %d: exit %d, and it says\n%s", n, r.Code, r.Stderr)
		}
		u.Same(u.Shale, before, fmt.Sprintf("change %d failed", n))
	}
	t.Logf("each of %d changes failed", steps)
}

// applyFull chooses the full tunnel and tells how shale is before, how it is with
// the tunnel, and how many changes that takes.
func applyFull(u *labtest.Users) (before, target string, steps int) {
	u.Helper()
	u.Tunnel(fullTunnel)
	u.Clone()
	before = u.Snapshot(u.Shale)
	steps = countChanges(u, "wgkeys plan")
	u.Must(u.Shale, "wgkeys apply")
	target = netAndPeers(u)
	u.Must(u.Shale, "wgkeys down")
	return before, target, steps
}

// countChanges is the number of changes that a plan has.
func countChanges(u *labtest.Users, plan string) int {
	u.Helper()
	r := u.Run(u.Shale, plan)
	if r.Code != ui.ExitFindings {
		u.Fatalf("%s: exit %d\n%s", plan, r.Code, r.Stderr)
	}
	return strings.Count(r.Stdout, "\n")
}

// killAt kills a command on shale at a point, as with kill -9.
func killAt(u *labtest.Users, point, command string) {
	u.Helper()
	if r := u.Run(u.Shale, "WGKEYS_TEST_FAULT='"+point+"' "+command); r.Code != killed {
		u.Fatalf("%s, %s: exit %d\n%s", command, point, r.Code, r.Stderr)
	}
}

// downLeavesNothing takes the tunnel down, which must leave neither link nor journal for the
// next apply to take over. A parameter left wrong stays so, whatever is applied
// and taken down after, so it is enough to compare the host's network less often.
func downLeavesNothing(u *labtest.Users, when string) {
	u.Helper()
	r := u.Run(u.Shale, "wgkeys down && test ! -e /run/wgkeys/wg0.journal && test ! -e /sys/class/net/wg0")
	if r.Code != 0 {
		u.Fatalf("%s, then down: exit %d\n%s%s", when, r.Code, r.Stdout, r.Stderr)
	}
	// A device that was still starting when its apply was killed makes its interface, sees that
	// nobody waits for it, and ends.
	u.Until("the device to end, "+when, func() bool { return u.Run(u.Shale, "pgrep -f '^wgkeys-device wg0'").Code != 0 })
}

// linkNumber is the kernel's number for the link, a new one each time.
var linkNumber = lazyregexp.New(`(?m)^\d+: wg0:`)

// netAndPeers is shale's network with the tunnel up, and the tunnel's peers.
func netAndPeers(u *labtest.Users) string {
	u.Helper()
	// The kernel readies an address a moment after it is added (addrconf_dad_work).
	if err := u.Shale.WaitAddresses(u.Context()); err != nil {
		u.Fatal(err)
	}
	peers := u.Must(u.Shale,
		"wg show wg0 public-key; wg show wg0 listen-port; wg show wg0 allowed-ips; wg show wg0 persistent-keepalive")
	return linkNumber().ReplaceAllString(u.Snapshot(u.Shale), "N: wg0:") + peers
}
