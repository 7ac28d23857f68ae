package install

import (
	"debug/elf"
	"fmt"
	"strings"
)

// An Arch is a processor architecture as in the names of the programs, wgkeys-linux-ARCH:
// amd64, arm64, armv7 or riscv64.
type Arch string

// An architecture is what is known about an Arch.
type architecture struct {
	arch     Arch
	machines []string // as uname -m prints them
	elf      elf.Machine
	env      []string // for go build
}

var architectures = []architecture{
	{"amd64", []string{"x86_64", "amd64"}, elf.EM_X86_64, []string{"GOARCH=amd64"}},
	{"arm64", []string{"aarch64", "arm64"}, elf.EM_AARCH64, []string{"GOARCH=arm64"}},
	{"armv7", []string{"armv7l", "armv8l"}, elf.EM_ARM, []string{"GOARCH=arm", "GOARM=7"}},
	{"riscv64", []string{"riscv64"}, elf.EM_RISCV, []string{"GOARCH=riscv64"}},
}

func (a Arch) known() architecture {
	for _, k := range architectures {
		if k.arch == a {
			return k
		}
	}
	panic("install: no such architecture: " + string(a))
}

// archOf parses the output of uname -s -m.
func archOf(machine string) (Arch, error) {
	system, processor, _ := strings.Cut(machine, " ")
	if system != "Linux" {
		return "", fmt.Errorf("it runs %s, and wgkeys runs on Linux", system)
	}
	for _, k := range architectures {
		for _, m := range k.machines {
			if m == processor {
				return k.arch, nil
			}
		}
	}
	return "", fmt.Errorf("its architecture is %s, and programs are for x86_64, aarch64, armv7l and riscv64", processor)
}
