package install

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"wgkeys/keyring/fault"
)

// A Program is a file to install on hosts. It is read once, so that all hosts get the same.
type Program struct {
	text []byte
	sum  string // SHA-256, as sha256sum(1) writes it
}

// read reads a program, and refuses one for another architecture.
func read(path string, arch Arch) (*Program, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read the program", path, "")
	}
	f, err := elf.Open(path)
	if err != nil {
		return nil, fault.NewFile("cannot install", path, "it is not a program", "")
	}
	defer f.Close()
	if k := arch.known(); f.Machine != k.elf {
		return nil, fault.NewFile("cannot install", path,
			fmt.Sprintf("it is a program for %v, not for %s", f.Machine, arch), "")
	}
	sum := sha256.Sum256(text)
	return &Program{text, hex.EncodeToString(sum[:])}, nil
}

// Programs finds the programs for hosts: this one for hosts of the same architecture, and
// for others one from a folder, or one that Go builds. Several goroutines may use it.
type Programs struct {
	Folder string       // has wgkeys-linux-ARCH; "": none
	Source string       // a checkout of this program's source, for go build; "": none
	Note   func(string) // called with a message before work that takes long; may be nil
	mu     sync.Mutex
	of     map[Arch]*Program
}

// self is the file of this program: on Linux the one that runs, even if another one has its
// name by now.
func self() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	path, _ := os.Executable() // without a path the read fails
	return path
}

// own is this program's architecture. On another system than Linux it is the system's name,
// which no host has.
func own() Arch {
	if runtime.GOOS != "linux" {
		return Arch(runtime.GOOS)
	}
	if runtime.GOARCH == "arm" {
		return "armv7"
	}
	return Arch(runtime.GOARCH)
}

// For returns the program for an architecture. It is read or built once.
func (p *Programs) For(ctx context.Context, arch Arch) (*Program, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.of[arch]; known != nil {
		return known, nil
	}
	program, err := p.find(ctx, arch)
	if err != nil {
		return nil, err
	}
	if p.of == nil {
		p.of = map[Arch]*Program{}
	}
	p.of[arch] = program
	return program, nil
}

func (p *Programs) find(ctx context.Context, arch Arch) (*Program, error) {
	switch {
	case arch == own():
		return read(self(), arch)
	case p.Folder != "":
		return p.fromFolder(arch)
	case p.Source != "":
		return p.build(ctx, arch)
	}
	return nil, fault.New("this program is for "+string(own())+", and none is here for", string(arch), "",
		"in a checkout of its source: make programs; then add --programs DIR, or --source DIR to have it built")
}

func (p *Programs) fromFolder(arch Arch) (*Program, error) {
	path := filepath.Join(p.Folder, "wgkeys-linux-"+string(arch))
	if err := IsOurs(path); err != nil {
		return nil, fault.WrapFile(err, "cannot install", path, "in a checkout of the source: make programs")
	}
	return read(path, arch)
}

// IsOurs returns an error if a program was not built from the same Go module as this one. It
// does not run the program.
func IsOurs(path string) error {
	theirs, err := buildinfo.ReadFile(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fault.Errno(err)
		}
		return errors.New("it is not built by Go")
	}
	ours, err := buildinfo.ReadFile(self())
	if err == nil && theirs.Main.Path != ours.Main.Path {
		err = fmt.Errorf("it is not wgkeys: its module is %q", theirs.Main.Path)
	}
	return err
}

// build builds the program from the source.
func (p *Programs) build(ctx context.Context, arch Arch) (*Program, error) {
	dir, err := os.MkdirTemp("", "wgkeys-build-")
	if err != nil {
		return nil, fault.Wrap(fault.Errno(err), "cannot make a folder for", "go build", "")
	}
	defer os.RemoveAll(dir)
	if p.Note != nil {
		p.Note("building the program for " + string(arch) + " from " + p.Source)
	}
	path := filepath.Join(dir, "wgkeys")
	// As the Makefile builds it: without the tables of a debugger ssh has nearly half less to carry.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags=urfave_cli_no_docs", "-ldflags=-s -w",
		"-o", path, "./cmd/wgkeys")
	cmd.Dir = p.Source
	cmd.Env = append(append(cmd.Environ(), "GOOS=linux", "CGO_ENABLED=0", "GOWORK=off"), arch.known().env...)
	said := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = io.Discard, said
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fault.New("cannot build the program without", "go", "it is not installed here", "apt install golang-go")
		}
		return nil, fault.NewFile("cannot build the program in", p.Source, lastLine(said.String(), err),
			"cd "+p.Source+" && make programs")
	}
	if err := IsOurs(path); err != nil {
		return nil, fault.WrapFile(err, "cannot install what was built in", p.Source, "")
	}
	return read(path, arch)
}

func lastLine(said string, err error) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return last
	}
	return err.Error()
}
