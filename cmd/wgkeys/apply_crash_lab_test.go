package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/ui"
)

// killed is the status that a shell gives to a process killed with SIGKILL.
const killed = 128 + 9

// Killed before or after any change, apply leaves a host that down brings back
// to what it was, and that the next apply completes.
func TestLabApplyKilled(t *testing.T) {
	u := firstUsers(t)
	before, target, steps := u.full()
	for n := 1; n <= steps; n++ {
		for _, where := range []string{"kill-before", "kill-after"} {
			point := fmt.Sprintf("%s %d", where, n)
			u.killAt(point, "wgkeys apply")
			u.down(point)
			u.killAt(point, "wgkeys apply")
			u.must(u.Shale, "wgkeys apply")
			if diff := demo.LineDiff(target, u.target()); diff != "" {
				t.Errorf("shale is not as wanted after %s, then apply:\n%s", point, diff)
			}
			u.down(point)
		}
		u.same(u.Shale, before, fmt.Sprintf("killed at change %d, then down, or apply and down", n))
	}
	u.must(u.Shale, fmt.Sprintf("WGKEYS_TEST_FAULT='kill-before %d' wgkeys apply && wgkeys down", steps+1))
	t.Logf("killed before and after each of %d changes", steps)
}

// Killed before or after any change, down is completed by the next one.
func TestLabDownKilled(t *testing.T) {
	u := firstUsers(t)
	before, _, _ := u.full()
	u.must(u.Shale, "wgkeys apply")
	steps := u.steps("wgkeys down -n")
	for n := 1; n <= steps; n++ {
		for _, where := range []string{"kill-before", "kill-after"} {
			point := fmt.Sprintf("%s %d", where, n)
			u.must(u.Shale, "wgkeys apply")
			u.killAt(point, "wgkeys down")
			u.down(point)
		}
		u.same(u.Shale, before, fmt.Sprintf("down killed at change %d, then down", n))
	}
	u.must(u.Shale, fmt.Sprintf("wgkeys apply; WGKEYS_TEST_FAULT='kill-before %d' wgkeys down", steps+1))
	t.Logf("killed before and after each of %d changes", steps)
}

// Killed while it changes a tunnel that is up, apply leaves one that down takes
// down like any other.
func TestLabApplyChangeKilled(t *testing.T) {
	u := firstUsers(t)
	before, _, _ := u.full()
	changed := strings.NewReplacer(`log_martians" = "1"`, `log_martians" = "2"`, "= 1400", "= 1300", "ndp_proxy = true\n", "").Replace(fullTunnel)
	use := func(text string) {
		u.tunnel(text)
		u.clone()
	}
	u.must(u.Shale, "wgkeys apply")
	use(changed)
	steps := u.steps("wgkeys plan")
	u.must(u.Shale, "wgkeys down")
	for n := 1; n <= steps; n++ {
		for _, where := range []string{"kill-before", "kill-after"} {
			point := fmt.Sprintf("%s %d", where, n)
			use(fullTunnel)
			u.must(u.Shale, "wgkeys apply")
			use(changed)
			u.killAt(point, "wgkeys apply")
			u.down(point)
		}
		u.same(u.Shale, before, fmt.Sprintf("killed at change %d, then down", n))
	}
	t.Logf("killed before and after each of %d changes", steps)
}

// A change that fails takes those before it back, and the error says so.
func TestLabApplyFails(t *testing.T) {
	u := firstUsers(t)
	before, _, steps := u.full()
	for n := 1; n <= steps; n++ {
		r := u.run(u.Shale, fmt.Sprintf("WGKEYS_TEST_FAULT='fail %d' wgkeys apply -q", n))
		if r.code != ui.ExitFailed || !strings.HasPrefix(r.stderr, `wgkeys: error: cannot change tunnel "wg0": `) ||
			!strings.HasSuffix(r.stderr, ": this change was made to fail; the tunnel is as it was before\n") {
			t.Errorf("fail %d: exit %d, and it says\n%s", n, r.code, r.stderr)
		}
		u.same(u.Shale, before, fmt.Sprintf("change %d failed", n))
	}
	t.Logf("each of %d changes failed", steps)
}

// full chooses the full tunnel and tells how shale is before, how it is with
// the tunnel, and how many changes that takes.
func (u *users) full() (before, target string, steps int) {
	u.t.Helper()
	u.tunnel(fullTunnel)
	u.clone()
	before = u.snapshot(u.Shale)
	steps = u.steps("wgkeys plan")
	u.must(u.Shale, "wgkeys apply")
	target = u.target()
	u.must(u.Shale, "wgkeys down")
	return before, target, steps
}

// steps is the number of changes that a plan has.
func (u *users) steps(plan string) int {
	u.t.Helper()
	r := u.run(u.Shale, plan)
	if r.code != ui.ExitFindings {
		u.t.Fatalf("%s: exit %d\n%s", plan, r.code, r.stderr)
	}
	return strings.Count(r.stdout, "\n")
}

// killAt kills a command on shale at a point, as with kill -9.
func (u *users) killAt(point, command string) {
	u.t.Helper()
	if r := u.run(u.Shale, "WGKEYS_TEST_FAULT='"+point+"' "+command); r.code != killed {
		u.t.Fatalf("%s, %s: exit %d\n%s", command, point, r.code, r.stderr)
	}
}

// down takes the tunnel down, which must leave neither link nor journal for the
// next apply to take over. A parameter left wrong stays so, whatever is applied
// and taken down after, so it is enough to compare the host's network less often.
func (u *users) down(when string) {
	u.t.Helper()
	r := u.run(u.Shale, "wgkeys down && test ! -e /run/wgkeys/wg0.journal && test ! -e /sys/class/net/wg0")
	if r.code != 0 {
		u.t.Fatalf("%s, then down: exit %d\n%s%s", when, r.code, r.stdout, r.stderr)
	}
}

// linkNumber is the kernel's number for the link, a new one each time.
var linkNumber = regexp.MustCompile(`(?m)^\d+: wg0:`)

// target is shale's network with the tunnel up, and the tunnel's peers.
func (u *users) target() string {
	u.t.Helper()
	// The kernel readies an address a moment after it is added (addrconf_dad_work).
	if err := u.Shale.WaitAddresses(u.t.Context()); err != nil {
		u.t.Fatal(err)
	}
	peers := u.must(u.Shale, "wg show wg0 public-key; wg show wg0 listen-port; wg show wg0 allowed-ips; wg show wg0 persistent-keepalive")
	return linkNumber.ReplaceAllString(u.snapshot(u.Shale), "N: wg0:") + peers
}
