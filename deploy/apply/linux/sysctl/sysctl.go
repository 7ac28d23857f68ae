// Package sysctl reads and sets the kernel's parameters below /proc/sys.
package sysctl

import (
	"errors"
	"os"

	"wgkeys/keyring/fault"
)

// A Root is /proc/sys, which no name can escape from. A parameter's key is its path
// there: net/ipv4/ip_forward.
type Root struct{ root *os.Root }

// Open opens it. It needs no rights; to set a parameter does.
func Open() (*Root, error) {
	root, err := os.OpenRoot("/proc/sys")
	if err != nil {
		return nil, fault.Wrap(fault.Errno(err), "cannot open", "/proc/sys", "")
	}
	return &Root{root}, nil
}

// Close closes it.
func (r *Root) Close() { r.root.Close() }

// Read returns a parameter as the kernel spells it, with a line break.
func (r *Root) Read(key string) (string, error) {
	text, err := r.root.ReadFile(key)
	return string(text), err
}

func (r *Root) write(key, value string) error {
	f, err := r.root.OpenFile(key, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	return errors.Join(err, f.Close())
}
