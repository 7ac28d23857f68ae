package ssh

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// ssh says "Confirm user presence for key" only if its standard error is a terminal
// (notify_start in readpass.c). Ours is a pipe, so nobody would know that a hardware key waits
// to be touched. Otherwise ssh has another program say so, that of SSH_ASKPASS in ssh(1): the
// user's own or, if there is none, this one again.

// askpassMark is the environment variable that makes a program [Askpass]. Its value precedes
// what it says.
const askpassMark = "WGKEYS_ASKPASS"

// Askpass is the program that ssh starts to tell the user something, or to ask. It reports
// false if this process is none. What the user is to see it writes to stderr, until ssh kills it;
// it answers no question, since ssh asks on the terminal itself.
func Askpass(args []string, stderr io.Writer) (code int, yes bool) {
	mark := os.Getenv(askpassMark)
	// No verb has a blank, and each text of ssh's has: an ssh that leads to this machine, as a
	// test's, hands the variable on.
	if mark == "" || len(args) != 2 || !strings.Contains(args[1], " ") {
		return 0, false
	}
	if os.Getenv("SSH_ASKPASS_PROMPT") != "none" {
		return 1, true
	}
	fmt.Fprintf(stderr, "%s%s\n", mark, strings.ReplaceAll(args[1], "\n", " "))
	for parent := os.Getppid(); os.Getppid() == parent; { // it may be killed before it kills us
		time.Sleep(time.Second)
	}
	return 0, true
}

// askpassEnvironment makes ssh start program for the user, nil leaves that to the program of the
// user's own in SSH_ASKPASS. If ssh must not ask, no question is answered, not even one of an
// ssh to a host on the way, which does not get BatchMode from its parent.
func askpassEnvironment(program, mark string, mute bool) []string {
	if os.Getenv("SSH_ASKPASS") != "" {
		return nil
	}
	env := append(os.Environ(), "SSH_ASKPASS="+program, askpassMark+"="+mark)
	switch {
	case mute:
		env = append(env, "SSH_ASKPASS_REQUIRE=force")
	case os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "":
		env = append(env, "DISPLAY=none") // without any ssh starts no such program
	}
	return env
}
