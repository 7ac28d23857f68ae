package push_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"wgkeys/deploy/push"
)

// TestMain lets the test binary stand for wgkeys on the host, under its name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "wgkeys" {
		os.Exit(m.Run())
	}
	if len(os.Args) > 2 && os.Args[2] == "--protocol" {
		fmt.Println(push.Protocol)
		return
	}
	if err := push.Receive(os.Stdin, os.Stdout, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
