package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// What takes longer than CI has is asked for by name, all of it in one flag:
//
//	go test ./cmd/wgkeys -run Faults -long faults,leaks
//
// Each has a target of make, which says what it needs and where its results are recorded.
var longKinds = map[string]string{
	"bench":       "wgkeys beside what others take, in a table",
	"bastion":     "ten runs of a hub with forty peers behind one bastion",
	"faults":      "each point of each sweep of faults, not a sample",
	"hints":       "the hints of all scripts, not of some",
	"histories":   "a hundred random histories of two administrators",
	"imports":     "each real file of wg-quick, not four",
	"many":        "200 hosts, each with an sshd of its own",
	"installs":    "the program brought to a Debian of every kind",
	"leaks":       "the search for keys goes through all files of the machine",
	"lockout":     "an apply that cuts its own way, twenty times",
	"mtu":         "5 MB through uplinks of all widths",
	"rotations":   "every rotation, and how others rotate",
	"team":        "200 operations of two administrators in two clones",
	"transitions": "every transition of a live tunnel, and other programs beside",
	"vault":       "ten thousand keys encrypted again, beside age and sops",
}

// The other knobs are of a kind above: for faults, -fault-point takes the cases with these
// words in them and -fault-labs is how many laboratories share them; for many, -spokes is how
// many hosts there are; -fast-rate and
// -mesh-rate are packets a second of rotations: a machine that counts its time does not
// bear 20,000 each way, and a mesh of five hosts has twenty streams.
//
// Variables: CI=true has nothing skipped for want of a program or of root, SOPS is the
// program of that name for -long vault, WGKEYS_LAB_KERNEL the kernel of the emulated machine.
var (
	longFlag   = flag.String("long", "", "what else to take, separated by commas: long_test.go has the names")
	faultPoint = flag.String("fault-point", "", "with -long faults, the cases of a rotation with these words in them")
	faultsIn   = flag.Int("fault-labs", 0, "laboratories that share the cases of a rotation; 0: one a processor")
	fastRate   = flag.Int("fast-rate", 20_000, "packets a second each way through the fast tunnel")
	meshRate   = flag.Int("mesh-rate", 1000, "packets a second each way between the hosts of a mesh")
)

// long reports whether the kind was asked for.
func long(kind string) bool {
	if longKinds[kind] == "" {
		panic("no such kind: " + kind)
	}
	return slices.Contains(strings.Split(*longFlag, ","), kind)
}

// checkLong ends a run that asks for a kind that does not exist.
func checkLong() {
	for kind := range strings.SplitSeq(*longFlag, ",") {
		if kind != "" && longKinds[kind] == "" {
			fmt.Fprintf(os.Stderr, "-long %s: there is none of this name: long_test.go has them\n", kind)
			os.Exit(2)
		}
	}
}

func TestLong(t *testing.T) {
	made, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for kind := range longKinds {
		if !strings.Contains(string(made), "-long "+kind) {
			t.Errorf("no target of make asks for -long %s", kind)
		}
	}
}
