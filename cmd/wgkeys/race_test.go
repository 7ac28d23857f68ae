//go:build race

package main

import (
	"os"
	"path/filepath"
	"syscall"
)

// raceLog is the folder that testdata/setup/race.sh looks into.
const raceLog = "/tmp/wgkeys-race"

// A process that stays has nowhere to say what the race detector finds: its standard error is
// /dev/null, and neither sshd nor the program hands the environment on that the detector
// takes its options from. So each process starts once more with them.
func init() {
	if os.Getenv("GORACE") != "" {
		os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0) // "exe" otherwise
		return
	}
	if _, err := os.Stat(raceLog); err != nil {
		return
	}
	err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), "GORACE=log_path="+raceLog+"/race"))
	panic(err)
}
