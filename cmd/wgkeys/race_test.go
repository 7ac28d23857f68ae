//go:build race

package main

import (
	"os"
	"syscall"
)

// raceLog is the folder that testdata/setup/race.sh looks into.
const raceLog = "/tmp/wgkeys-race"

// A process that stays has nowhere to say what the race detector finds: its standard error is
// /dev/null, and neither sshd nor the program hands the environment on that the detector
// takes its options from. So each process starts once more with them.
func init() {
	if _, err := os.Stat(raceLog); err != nil || os.Getenv("GORACE") != "" {
		return
	}
	err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), "GORACE=log_path="+raceLog+"/race"))
	panic(err)
}
