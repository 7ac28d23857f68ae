// Package faulttest has things go wrong under the program, for its tests: at a change of
// the kernel ([Kernel]), at a step of a rotation ([ControllerStep], [ParticipantSteps]), at a
// write to the repository ([Hit], of which a [Sweep] takes all, and sees what became of the
// keys). Each is a part of the test binary while it is the program.
//
// Only tests import it.
package faulttest

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"wgkeys/deploy/apply"
)

// Kernel reads from WGKEYS_TEST_FAULT where the program is to be hit:
// "kill-before 3" and "kill-after 3" kill it as with kill -9 around the third
// change, "fail 3" makes that change fail, "fail-from 3" all from there on, with
// those that would undo it.
func Kernel(k apply.Kernel) apply.Kernel {
	kind, number, ok := strings.Cut(os.Getenv("WGKEYS_TEST_FAULT"), " ")
	if !ok {
		return k
	}
	at, err := strconv.Atoi(number)
	if err != nil {
		panic(err)
	}
	return &kernel{k, kind, at, 0}
}

// A kernel is the real one but for one change.
type kernel struct {
	apply.Kernel
	kind string
	at   int
	seen int
}

func (f *kernel) Do(ctx context.Context, changes []apply.Change) error {
	for _, c := range changes {
		if c.TouchesKernel() {
			f.seen++
		}
		hit := f.seen == f.at && c.TouchesKernel()
		if hit && f.kind == "kill-before" {
			die()
		}
		if hit && f.kind == "fail" || f.seen >= f.at && f.kind == "fail-from" {
			return errors.New("this change was made to fail")
		}
		if err := f.Kernel.Do(ctx, []apply.Change{c}); err != nil {
			return err
		}
		if hit && f.kind == "kill-after" {
			die()
		}
	}
	return nil
}

func die() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
