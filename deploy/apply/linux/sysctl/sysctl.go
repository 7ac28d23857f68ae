// Package sysctl reads and sets kernel parameters below /proc/sys.
package sysctl

import (
	"errors"
	"os"

	"wgkeys/keyring/fault"
)

// A Root is /proc/sys; no key can escape from it. The key of a parameter is its path there,
// such as net/ipv4/ip_forward.
type Root struct{ root *os.Root }

// Open opens /proc/sys. It needs no privileges; setting a parameter does.
func Open() (*Root, error) {
	root, err := os.OpenRoot("/proc/sys")
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot open", "/proc/sys", "")
	}
	return &Root{root}, nil
}

// Close closes /proc/sys.
func (r *Root) Close() { r.root.Close() }

// Read returns the value of a parameter as the kernel prints it, with its newline.
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
