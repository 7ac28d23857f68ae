//go:build amd64

package faulttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/lazyregexp"
)

// Hit runs a command in which one system call goes wrong:
//
//	hit DIR TRACE FAULT POINT COMMAND...
//
// Only calls that write below DIR count, and flock there. Each such call is a point: the
// call, its file, and how many times it has come so far, as in "rename a b #2". strace(1)
// counts the calls of each thread separately, and a Go program moves between threads; here
// a point is the same in every run, whichever thread makes the call.
//
// FAULT is what happens there: "none", "before" or "after" (the process is killed), "torn"
// (it is killed after half of the write), or the name of an error. TRACE gets the points
// that the command passed, one per line, and a last line "HIT" if POINT was among them.
func Hit() {
	runtime.LockOSThread() // ptrace(2) works only from the thread that attached
	signal.Ignore(syscall.SIGPIPE)
	h := &hitter{dir: os.Args[1], fault: os.Args[3], point: os.Args[4], hitIn: map[int]bool{}, seen: map[string]int{}}
	code, err := h.run(os.Args[5:])
	if err == nil {
		err = os.WriteFile(os.Args[2], []byte(strings.Join(h.trace, "\n")), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hit:", err)
		code = 99
	}
	os.Exit(code)
}

type hitter struct {
	dir, fault, point string
	pid               int
	hitIn             map[int]bool // threads that are in the chosen call
	seen              map[string]int
	trace             []string
}

func (h *hitter) run(command []string) (code int, err error) {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return 0, err
	}
	p, err := os.StartProcess(path, command,
		&os.ProcAttr{Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
			Sys: &syscall.SysProcAttr{Ptrace: true}})
	if err != nil {
		return 0, err
	}
	h.pid = p.Pid
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(h.pid, &ws, 0, nil); err != nil {
		return 0, err
	}
	options := unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(h.pid, options); err != nil {
		return 0, err
	}
	unix.PtraceSyscall(h.pid, 0)
	for {
		tid, err := syscall.Wait4(-1, &ws, syscall.WALL, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			return code, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, err
		case ws.Exited() || ws.Signaled():
			if tid == h.pid {
				code = ws.ExitStatus()
				if ws.Signaled() {
					code = 128 + int(ws.Signal())
				}
			}
		case ws.Stopped():
			h.stopped(tid, ws)
		}
	}
}

// stopped continues a thread that has stopped. An error is ignored: the thread is gone if
// the process was killed.
func (h *hitter) stopped(tid int, ws syscall.WaitStatus) {
	pass := 0
	switch sig := ws.StopSignal(); sig {
	case syscall.SIGTRAP | 0x80:
		h.atCall(tid)
	case syscall.SIGTRAP, syscall.SIGSTOP: // exec, a new thread
	default:
		pass = int(sig)
	}
	unix.PtraceSyscall(tid, pass)
}

// callInfo is struct ptrace_syscall_info (ptrace(2)).
type callInfo struct {
	op       uint8
	_        [3]uint8
	arch     uint32
	ip, sp   uint64
	nr       uint64
	args     [6]uint64
	_unknown [2]uint64
}

const (
	callEntry = 1 // PTRACE_SYSCALL_INFO_ENTRY
	callExit  = 2 // PTRACE_SYSCALL_INFO_EXIT
)

func (h *hitter) atCall(tid int) {
	var info callInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info),
		uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return
	}
	switch info.op {
	case callEntry:
		name := h.named(tid, &info)
		if name == "" {
			return
		}
		h.seen[name]++
		point := fmt.Sprintf("%s #%d", name, h.seen[name])
		h.trace = append(h.trace, point)
		if point == h.point {
			h.hitIn[tid] = true
			h.trace = append(h.trace, "HIT")
			h.entry(tid, &info)
		}
	case callExit:
		if h.hitIn[tid] {
			delete(h.hitIn, tid)
			h.exit(tid)
		}
	}
}

// entry makes the call go wrong before the kernel runs it.
func (h *hitter) entry(tid int, info *callInfo) {
	switch h.fault {
	case "none", "after":
	case "before":
		unix.Kill(h.pid, unix.SIGKILL)
	case "torn":
		h.registers(tid, func(r *unix.PtraceRegs) { r.Rdx = info.args[2] / 2 })
	default: // no call has the number -1, so the kernel does nothing
		h.registers(tid, func(r *unix.PtraceRegs) { r.Orig_rax = ^uint64(0) })
	}
}

// exit makes the call go wrong after the kernel ran it.
func (h *hitter) exit(tid int) {
	switch h.fault {
	case "none", "before":
	case "after", "torn":
		unix.Kill(h.pid, unix.SIGKILL)
	default:
		h.registers(tid, func(r *unix.PtraceRegs) { r.Rax = uint64(-int64(faultErrors[h.fault])) })
	}
}

var faultErrors = map[string]syscall.Errno{"ENOSPC": syscall.ENOSPC, "EIO": syscall.EIO, "EROFS": syscall.EROFS}

func (h *hitter) registers(tid int, change func(*unix.PtraceRegs)) {
	var r unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &r) == nil {
		change(&r)
		unix.PtraceSetRegs(tid, &r)
	}
}

// onDescriptor are the system calls on an open file.
var onDescriptor = map[uint64]string{
	unix.SYS_WRITE:     "write",
	unix.SYS_PWRITE64:  "write",
	unix.SYS_WRITEV:    "write",
	unix.SYS_FSYNC:     "fsync",
	unix.SYS_FDATASYNC: "fsync",
	unix.SYS_SYNCFS:    "syncfs",
	unix.SYS_FCHMOD:    "fchmod",
	unix.SYS_FTRUNCATE: "ftruncate",
	unix.SYS_FLOCK:     "flock",
}

// named returns the call and the files below the directory that it writes, or "" if it does
// not count.
func (h *hitter) named(tid int, i *callInfo) string {
	if call := onDescriptor[i.nr]; call != "" {
		return h.below(call, h.link(tid, fmt.Sprintf("fd/%d", int32(i.args[0]))))
	}
	at := func(n int) string { return h.at(tid, int32(i.args[n]), i.args[n+1]) }
	cwd := func(n int) string { return h.at(tid, unix.AT_FDCWD, i.args[n]) }
	switch i.nr {
	case unix.SYS_OPENAT:
		if i.args[2]&(unix.O_CREAT|unix.O_TRUNC) == 0 {
			return ""
		}
		return h.below("create", at(0))
	case unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT:
		return h.below("fchmodat", at(0))
	case unix.SYS_MKDIRAT:
		return h.below("mkdir", at(0))
	case unix.SYS_MKDIR:
		return h.below("mkdir", cwd(0))
	case unix.SYS_UNLINKAT:
		return h.below("unlink", at(0))
	case unix.SYS_UNLINK, unix.SYS_RMDIR:
		return h.below("unlink", cwd(0))
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return h.below("rename", at(0), at(2))
	case unix.SYS_LINKAT:
		return h.below("link", at(0), at(2))
	}
	return ""
}

// randomName matches what differs between two runs in the name of a temporary file.
var randomName = lazyregexp.New(`\.[A-Z2-7]{26}\.|\.wgkeys\.[0-9]+\.[0-9]+`)

// below returns the call with its files, or "" if one of them is elsewhere.
func (h *hitter) below(call string, paths ...string) string {
	out := []string{call}
	for _, path := range paths {
		rel, err := filepath.Rel(h.dir, path)
		if err != nil || !filepath.IsLocal(rel) {
			return ""
		}
		out = append(out, randomName().ReplaceAllString(rel, ".*."))
	}
	return strings.Join(out, " ")
}

func (h *hitter) at(tid int, dirfd int32, name uint64) string {
	path := text(tid, name)
	if filepath.IsAbs(path) {
		return path
	}
	dir := "cwd"
	if dirfd != unix.AT_FDCWD {
		dir = fmt.Sprintf("fd/%d", dirfd)
	}
	return filepath.Join(h.link(tid, dir), path)
}

func (h *hitter) link(tid int, name string) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", tid, name))
	if err != nil {
		return ""
	}
	return path
}

// text returns a string in the memory of a process.
func text(tid int, at uint64) string {
	var out []byte
	for b := make([]byte, 8); len(out) < unix.PathMax; at += 8 {
		if _, err := unix.PtracePeekData(tid, uintptr(at), b); err != nil {
			return ""
		}
		if end := slices.Index(b, 0); end >= 0 {
			return string(append(out, b[:end]...))
		}
		out = append(out, b...)
	}
	return ""
}
