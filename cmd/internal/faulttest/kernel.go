// Package faulttest makes things go wrong under the program: at a change of the kernel
// ([Kernel]), at a step of a rotation ([ControllerStep], [ParticipantSteps]), or at a write
// to the repository ([Hit]). A [Sweep] does the latter at each write, and checks what
// became of the keys. The test binary, which is the program then, contains all of this.
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

// Kernel returns k with the fault in WGKEYS_TEST_FAULT, if there is one: "kill-before 3"
// and "kill-after 3" kill the process around the third change, "fail 3" makes that change
// fail, and "fail-from 3" all from there on, including those that undo others.
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

// A kernel is the real one with a fault.
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
