//go:build managers

package labtest

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Sid is an emulated Debian sid with the real systemd, on a disk made by
// testdata/setup/sid.sh. Its eth0 is linked to the far host, in a network namespace of the
// same machine (testdata/sid/lab-far).
//
// As in testdata/vm the guest's clock counts instructions: however busy the host is, in its
// own time the guest has a steady processor.
type Sid struct {
	*testing.T
	conn net.Conn
	r    *bufio.Reader
	boot string // the kernel's id of the boot that the machine is in
	sent int    // scripts
}

// sidKernel is the kernel's command line. Interfaces are named eth0 and eth1, whatever
// their slots are.
const sidKernel = "root=/dev/nvme0n1 rw rootwait console=ttyS0 loglevel=4 panic=-1 nokaslr mitigations=off net.ifnames=0 systemd.show_status=no systemd.wants="

// BootSid boots the machine with one network manager. What is written to its disk survives
// a reboot, and is gone after the test.
func BootSid(t *testing.T, unit string) *Sid {
	t.Helper()
	lab, err := filepath.Abs("../../.lab/sid")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(lab + "/disk.img"); err != nil {
		t.Fatalf("%v: run testdata/setup/sid.sh", err)
	}
	dir := t.TempDir()
	size := programDisk(t, dir+"/program")
	cmd := exec.Command("qemu-system-x86_64",
		"-nodefaults", "-no-user-config", "-display", "none", "-M", "q35", "-m", "1024", "-smp", "1",
		"-accel", "tcg,thread=single", "-icount", "shift=1,sleep=on", "-cpu", "max,erms=off,fsrm=off",
		"-kernel", lab+"/vmlinuz", "-append", sidKernel+unit, "-serial", "file:"+dir+"/console",
		"-drive", "if=none,id=root,format=raw,snapshot=on,file="+lab+"/disk.img", "-device", "nvme,drive=root,serial=root",
		"-drive", "if=none,id=program,format=raw,readonly=on,file="+dir+"/program", "-device",
		"nvme,drive=program,serial=program",
		"-netdev", "hubport,id=near,hubid=0", "-device", "virtio-net-pci,netdev=near,mac=52:54:00:00:00:01,romfile=",
		"-netdev", "hubport,id=far,hubid=0", "-device", "virtio-net-pci,netdev=far,mac=52:54:00:00:00:02,romfile=",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=lab,server=on,wait=on,path="+dir+"/socket",
		"-device", "virtserialport,chardev=lab,name=lab")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if console, err := os.ReadFile(dir + "/console"); err == nil && t.Failed() {
			t.Logf("the console says:\n%s", console[max(0, len(console)-4000):])
		}
	})
	m := &Sid{T: t}
	for m.conn == nil { // QEMU makes the socket when it is ready
		if m.conn, err = net.Dial("unix", dir+"/socket"); err != nil && cmd.ProcessState != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	m.r = bufio.NewReader(m.conn)
	m.waitReady()
	m.Must(fmt.Sprintf("head -c %d /dev/nvme1n1 >/usr/local/bin/wgkeys && chmod 755 /usr/local/bin/wgkeys && sync", size))
	return m
}

// programDisk writes wgkeys to a disk that the machine reads, in whole blocks.
func programDisk(t *testing.T, path string) (size int) {
	t.Helper()
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	size = int(info.Size())
	if err := os.Truncate(path, int64(size+4095)/4096*4096); err != nil {
		t.Fatal(err)
	}
	return size
}

// waitReady waits for another boot than the last one: while the machine shuts down, systemd
// may start lab-shell once more.
func (m *Sid) waitReady() {
	m.Helper()
	for {
		if boot, ready := strings.CutPrefix(m.line("at boot"), "ready "); ready && boot != m.boot {
			m.boot = boot
			return
		}
	}
}

// line returns the next line of lab-shell. No trial takes twenty minutes: after that the
// machine is gone.
func (m *Sid) line(when string) string {
	m.Helper()
	m.conn.SetReadDeadline(time.Now().Add(20 * time.Minute))
	line, err := m.r.ReadString('\n')
	if err != nil {
		m.Fatalf("the machine says no more %s: %v", when, err)
	}
	return strings.TrimSpace(line)
}

// Run runs a script in the machine; its output is both of its streams. Early in a boot
// systemd may take the terminal from lab-shell and start it again; then lab-shell says so
// and has lost what was sent before.
func (m *Sid) Run(script string) (output string, code int) {
	m.Helper()
	m.sent++
	m.send(script)
	answer, found := "", false
	for !found {
		line := m.line("after " + script)
		if strings.HasPrefix(line, "ready ") {
			m.send(script) // lab-shell takes it once
		}
		answer, found = strings.CutPrefix(line, strconv.Itoa(m.sent)+" ")
	}
	status, text, _ := strings.Cut(answer, " ")
	code, err := strconv.Atoi(status)
	if err != nil {
		m.Fatalf("the machine answers %q", answer)
	}
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		m.Fatal(err)
	}
	return string(decoded), code
}

func (m *Sid) send(script string) {
	fmt.Fprintln(m.conn, m.sent, base64.StdEncoding.EncodeToString([]byte(script)))
}

// Must runs a script in the machine that has to succeed and returns its output.
func (m *Sid) Must(script string) string {
	m.Helper()
	out, code := m.Run(script)
	if code != 0 {
		m.Fatalf("%s: exit %d\n%s", script, code, out)
	}
	return out
}

// Reboot boots the machine once more, with the same disk.
func (m *Sid) Reboot() {
	m.Helper()
	m.sent++
	m.send("systemctl --no-block reboot") // once: lab-shell may be gone before it answers
	m.waitReady()
}

// Eventually waits until a script succeeds, in the machine's own time.
func (m *Sid) Eventually(script string) {
	m.Helper()
	m.Must("for i in $(seq 60); do if " + script + "; then exit 0; fi; sleep 1; done; echo never: '" +
		strings.ReplaceAll(script, "'", `'\''`) + "'; exit 1")
}
