package main

import (
	"fmt"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/faulttest"
	"wgkeys/cmd/internal/labtest"
)

// An apply that stands still at one of its changes, with the next command of a user coming
// meanwhile: that waits, and both do their work, one after the other. And an apply that takes
// longer than its time to be confirmed is undone when it is through.
//
// All changes, one by one, are for make faults.
func TestLabApplySlow(t *testing.T) {
	u := labtest.FirstUsers(t)
	before, target, steps := applyFull(u)
	stride := steps/3 + 1
	delay := "1s"
	if long("faults") {
		stride, delay = 1, "3s"
	}
	cases := 0
	for n := 1; n <= steps; n += stride {
		for _, where := range []string{"before", "after"} {
			point := fmt.Sprintf("delay-%s %d %s", where, n, delay)
			slowApply(u, point, "wgkeys apply", "wgkeys down")
			u.Same(u.Shale, before, point+", and down meanwhile")

			slowApply(u, point, "wgkeys apply", "wgkeys apply")
			if diff := demo.LineDiff(target, netAndPeers(u)); diff != "" {
				t.Errorf("%s, and apply meanwhile: shale is not as wanted:\n%s", point, diff)
			}
			slowApply(u, point, "wgkeys down", "wgkeys apply")
			if diff := demo.LineDiff(target, netAndPeers(u)); diff != "" {
				t.Errorf("%s of down, and apply meanwhile: shale is not as wanted:\n%s", point, diff)
			}
			u.Must(u.Shale, "wgkeys down")

			slowApply(u, point, "wgkeys apply --confirm 200ms", "wgkeys plan")
			u.Until("the apply to be undone", func() bool { return u.Run(u.Shale, "test -e /run/wgkeys/wg0.pending").Code != 0 })
			downLeavesNothing(u, point)
			u.Same(u.Shale, before, point+", and nobody has confirmed it")
			cases += 4
		}
	}
	u.Until("all processes to end", func() bool { return u.Run(u.Shale, "pgrep '^wgkeys'").Code != 0 })
	t.Logf("%d cases at %d changes", cases, steps)
}

// slowApply has a command stand still at a point, and another one come meanwhile. A point that
// the command does not come to, as down has fewer changes, is none.
func slowApply(u *labtest.Users, point, command, next string) {
	u.Helper()
	script := strings.NewReplacer("POINT", point, "COMMAND", command, "NEXT", next, "HIT", faulttest.HitFile).Replace(
		`rm -f HIT; (WGKEYS_TEST_FAULT='POINT' COMMAND >/root/slow 2>&1; echo $? >>/root/slow) & p=$!
		while [ ! -e HIT ] && kill -0 $p 2>/dev/null; do sleep 0.01; done; NEXT; code=$?; wait; tail -n 1 /root/slow; exit $code`)
	r := u.Run(u.Shale, script)
	plans := strings.Contains(next, "plan") // which looks, and exits 4 if there is a step
	if r.Code != 0 && !plans || !strings.HasSuffix(r.Stdout, "0\n") {
		u.Errorf("%s, %s: exit %d\n%s%s", point, next, r.Code, r.Stdout, r.Stderr)
	}
}
