package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/host"
	"wgkeys/deploy/host/daemon"
	"wgkeys/deploy/lab"
	"wgkeys/deploy/rotate/participant"
)

// TestMain makes the test binary the program itself when it is called by its
// name: testscript and the hosts of the laboratory run the real main.
func TestMain(m *testing.M) {
	participant.TestOnlySteps = partSteps
	daemon.Main(host.Processes()...)
	lab.Init()
	testscript.Main(&thenClose{m}, testPrograms)
}

// thenClose ends the shared laboratories after the last test.
type thenClose struct{ *testing.M }

func (m *thenClose) Run() int {
	flag.Parse()
	checkLong()
	defer firstLabs.close()
	return m.M.Run()
}

// testPrograms are what the test binary is when it is called by their names.
var testPrograms = map[string]func(){
	"age-plugin-touch": standIn,
	"standin-dns":      standInDNS,
	"standin-speaker":  standInSpeaker,
	"wgkeys": func() {
		host.TestOnlyKernel, testOnlyStep = faultyKernel, controllerStep
		main()
	},
	"wireguard-go": func() { // as wg-quick(8) calls it
		if err := device.Start(context.Background(), os.Args[1], apply.DefaultMTU); err != nil {
			panic(err)
		}
	},
}

// faultyKernel reads from WGKEYS_TEST_FAULT where the program is to be hit:
// "kill-before 3" and "kill-after 3" kill it as with kill -9 around the third
// change, "fail 3" makes that change fail, "fail-from 3" all from there on, with
// those that would undo it.
func faultyKernel(k apply.Kernel) apply.Kernel {
	kind, number, ok := strings.Cut(os.Getenv("WGKEYS_TEST_FAULT"), " ")
	if !ok {
		return k
	}
	at, err := strconv.Atoi(number)
	if err != nil {
		panic(err)
	}
	return &faulty{k, kind, at, 0}
}

type faulty struct {
	apply.Kernel
	kind string
	at   int
	seen int
}

func (f *faulty) Do(ctx context.Context, changes []apply.Change) error {
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
