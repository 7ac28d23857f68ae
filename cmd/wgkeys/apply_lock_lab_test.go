package main

import (
	"context"
	"strings"
	"sync"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// One process at a time changes tunnels: another one says for whom it waits,
// and goes on when that one is done.
func TestLabApplyWaits(t *testing.T) {
	u := labtest.FirstUsers(t)
	before := u.Snapshot(u.Shale)
	for _, command := range []string{"apply", "down"} {
		// A process that takes as long as we like over its change: it holds
		// the lock, as apply does, until its standard input ends.
		holder := u.Shale.Command(t.Context(), "sh", "-c",
			"mkdir -p /run/wgkeys; exec 9<>/run/wgkeys/lock; flock 9; echo $$ >&9; exec cat")
		release, err := holder.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		untilLocked(u)
		var said safeBuffer
		waiting := u.Shale.Command(t.Context(), "sh", "-c", "cd /root/net && exec wgkeys "+command)
		waiting.Stderr = &said
		if err := waiting.Start(); err != nil {
			t.Fatal(err)
		}
		want := "wgkeys: waiting for process " + strings.TrimSpace(u.Read(u.Shale, "/run/wgkeys/lock")) +
			", which is changing a tunnel on this host\n"
		err = lab.Until(t.Context(), command+" to say for whom it waits", func(context.Context) (bool, error) {
			return said.String() == want, nil
		})
		if err != nil {
			t.Errorf("%s says %q, want %q", command, said.String(), want)
		}
		release.Close()
		holder.Wait()
		if err := waiting.Wait(); err != nil {
			t.Errorf("%s after waiting: %v: %s", command, err, said.String())
		}
	}
	u.Same(u.Shale, before, "apply and down have waited")
}

func untilLocked(u *labtest.Users) {
	u.Helper()
	err := lab.Until(u.Context(), "the lock to be held", func(context.Context) (bool, error) {
		return u.Run(u.Shale, "! flock -n /run/wgkeys/lock true && test -s /run/wgkeys/lock").Code == 0, nil
	})
	if err != nil {
		u.Fatal(err)
	}
}

// Whatever runs at the same moment, all succeed, and in the end there is a
// whole tunnel or none.
func TestLabApplyAtTheSameMoment(t *testing.T) {
	u := labtest.FirstUsers(t)
	before := u.Snapshot(u.Shale)
	up, down := 0, 0
	for range 4 {
		var all sync.WaitGroup
		for i, command := range []string{"apply", "apply", "down -t wg0"} {
			all.Go(func() {
				if r := u.Run(u.Shale, "wgkeys "+command); r.Code != 0 {
					t.Errorf("process %d, %s: exit %d\n%s", i, command, r.Code, r.Stderr)
				}
			})
		}
		all.Wait()
		switch plan := u.Run(u.Shale, "wgkeys plan"); {
		case plan.Code == 0:
			up++
			u.Must(u.Shale, "wgkeys down")
		case plan.Code != ui.ExitFindings:
			t.Errorf("plan: exit %d\n%s", plan.Code, plan.Stderr)
		default:
			down++
		}
		u.Same(u.Shale, before, "applies and down at the same moment")
	}
	t.Logf("%d times the tunnel was up in the end, %d times down", up, down)
}
