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
	"time"

	"wgkeys/deploy/apply"
)

// Kernel returns k with the fault in WGKEYS_TEST_FAULT, if there is one: "kill-before 3"
// and "kill-after 3" kill the process around the third change, "fail 3" makes that change
// fail, and "fail-from 3" all from there on, including those that undo others.
// "delay-before 3 2s" and "delay-after 3 2s" make it stand still there, with the locks that
// it holds; from then on there is the file /root/fault.hit.
func Kernel(k apply.Kernel) apply.Kernel {
	kind, number, ok := strings.Cut(os.Getenv("WGKEYS_TEST_FAULT"), " ")
	if !ok {
		return k
	}
	number, long, _ := strings.Cut(number, " ")
	at, err := strconv.Atoi(number)
	f := &kernel{Kernel: k, kind: kind, at: at}
	if err == nil && long != "" {
		f.delay, err = time.ParseDuration(long)
	}
	if err != nil {
		panic(err)
	}
	return f
}

// A kernel is the real one with a fault.
type kernel struct {
	apply.Kernel
	kind string
	at   int
	seen int

	delay time.Duration
}

func (f *kernel) Do(ctx context.Context, changes []apply.Change) error {
	for _, c := range changes {
		if c.TouchesKernel() {
			f.seen++
		}
		hit := f.seen == f.at && c.TouchesKernel()
		if hit {
			f.stand("before")
		}
		if hit && f.kind == "fail" || f.seen >= f.at && f.kind == "fail-from" {
			return errors.New("this change was made to fail")
		}
		if err := f.Kernel.Do(ctx, []apply.Change{c}); err != nil {
			return err
		}
		if hit {
			f.stand("after")
		}
	}
	return nil
}

// stand kills the process before or after a change, or makes it stand still there.
func (f *kernel) stand(where string) {
	switch f.kind {
	case "kill-" + where:
		die()
	case "delay-" + where:
		os.WriteFile(HitFile, nil, 0o600)
		time.Sleep(f.delay)
	}
}

func die() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
