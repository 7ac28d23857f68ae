package main

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"wgkeys/cmd/internal/faulttest"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/host"
	"wgkeys/deploy/host/daemon"
	"wgkeys/deploy/lab"
	"wgkeys/deploy/rotate/participant"
	"wgkeys/deploy/ssh"
)

// TestMain makes the test binary the program itself when it is called by its
// name: testscript and the hosts of the laboratory run the real main.
func TestMain(m *testing.M) {
	if code, yes := ssh.Askpass(os.Args, os.Stderr); yes {
		os.Exit(code)
	}
	participant.TestOnlySteps = faulttest.ParticipantSteps
	daemon.Main(host.Processes()...)
	lab.Init()
	testscript.Main(&thenClose{m}, testPrograms)
}

// thenClose ends the shared laboratories after the last test.
type thenClose struct{ *testing.M }

func (m *thenClose) Run() int {
	flag.Parse()
	checkLong()
	defer labtest.CloseShared()
	return m.M.Run()
}

// testPrograms are what the test binary is when it is called by their names.
var testPrograms = map[string]func(){
	"age-plugin-touch": labtest.TouchPlugin,
	"standin-dns":      labtest.DNS,
	"standin-speaker":  labtest.Speaker,
	"wgkeys": func() {
		host.TestOnlyKernel, testOnlyStep = faulttest.Kernel, faulttest.ControllerStep
		main()
	},
	"wireguard-go": func() { // as wg-quick(8) calls it
		if err := device.Start(context.Background(), os.Args[1], apply.DefaultMTU); err != nil {
			panic(err)
		}
	},
}
