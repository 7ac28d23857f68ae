// Command vm runs a test binary on Debian's own kernel in a virtual machine:
//
//	go build -o .lab/vm ./testdata/vm
//	CGO_ENABLED=0 go test -exec "$PWD/.lab/vm" ./deploy/lab
//	WGKEYS_LAB_KERNEL=newest CGO_ENABLED=0 go test -exec "$PWD/.lab/vm" ./deploy/lab
//
// Many machines that build have no WireGuard in their kernel; this one has.
// The machine is QEMU's, without need of KVM, and has neither disk nor network:
// its files are an initramfs of the module's files, the test binary, the
// programs listed in tools.go and the modules listed in modules.go. The same
// program is the machine's process 1 (guest.go).
//
// What the tests write arrives as it is written, the exit status is theirs, and
// a machine that dies or outlives -test.timeout is an error with the last lines
// of its kernel.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

func main() {
	if os.Getpid() == 1 {
		guest()
		return
	}
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: vm TEST-BINARY [ARGUMENT...]")
		os.Exit(2)
	}
	runtime.LockOSThread()
	status, err := host(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "vm: error: %v\n", err)
		os.Exit(2)
	}
	os.Exit(status)
}

// host runs a test binary in a machine and returns its exit status.
func host(binary string, args []string) (int, error) {
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	root, err := moduleRoot(dir)
	if err != nil {
		return 0, err
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return 0, err
	}
	lab := filepath.Join(root, ".lab")
	kernel, err := findKernel(lab, os.Getenv(kernelVariable))
	if err != nil {
		return 0, err
	}
	base, err := baseArchive(lab, kernel)
	if err != nil {
		return 0, err
	}
	test, err := testArchive(root, job{Binary: binary, Args: args, Dir: dir, Env: environment()})
	if err != nil {
		return 0, err
	}
	m := machine{kernel: kernel.image, initrd: [][]byte{base, test}, limits: limitsOf(args), stdout: os.Stdout}
	return m.run()
}

// moduleRoot returns the folder of go.mod, at or above dir.
func moduleRoot(dir string) (string, error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", errors.New("no go.mod at or above " + dir)
		}
	}
}
