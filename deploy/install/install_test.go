package install_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wgkeys/deploy/install"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/ssh/sshtest"
	"wgkeys/keyring/fault"
)

const version = "wgkeys of this test"

// TestMain lets the test binary be the program on the host, under its name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "wgkeys" && len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(version)
		return
	}
	os.Exit(m.Run())
}

// A host is a real sshd. Its /usr/local/bin is its own.
type host struct {
	*sshtest.Server
	*testing.T
	r ssh.Runner
}

func newHost(t *testing.T, c sshtest.Config) *host {
	s := sshtest.Start(t, c)
	return &host{s, t, s.Client("shale")}
}

func (h *host) as(user string) *host {
	c := h.Client("shale")
	c.Dest = user + "@shale"
	return &host{h.Server, h.T, c}
}

// install installs this test's program.
func (h *host) install(o install.Options) (install.Result, error) {
	h.Helper()
	if o.Program == nil {
		o.Program = new(install.Programs).For
	}
	return install.Host(h.Context(), h.r, "shale", o)
}

func (h *host) path(name string) string {
	return filepath.Join("/proc", strconv.Itoa(h.Pid()), "root/usr/local/bin", name)
}

// has returns what is in /usr/local/bin, by name, and fails where the program there is not
// whole.
func (h *host) has() string {
	h.Helper()
	entries, err := os.ReadDir(h.path(""))
	if err != nil {
		h.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// whole fails where the host has not this very program, for everybody to run.
func (h *host) whole() {
	h.Helper()
	ours, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		h.Fatal(err)
	}
	theirs, err := os.ReadFile(h.path("wgkeys"))
	if err != nil || string(ours) != string(theirs) {
		h.Errorf("the host has %d bytes, and the program %d: %v", len(theirs), len(ours), err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(h.path("wgkeys"), &st); err != nil || st.Mode&0o7777 != 0o755 || st.Uid != 0 || st.Gid != 0 {
		h.Errorf("mode %o, of %d:%d: %v", st.Mode&0o7777, st.Uid, st.Gid, err)
	}
	if h.has() != "wgkeys" {
		h.Errorf("beside it there is something: %s", h.has())
	}
}

func (h *host) write(name, text string) {
	h.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o755); err != nil {
		h.Fatal(err)
	}
}

const older = "#!/bin/sh\necho wgkeys v0.1\n"

func asShell(shell string) sshtest.Config {
	return sshtest.Config{Setup: []string{"mount --bind " + shell + " /bin/sh"}}
}

// busybox has no command but busybox's.
func busybox(t *testing.T) sshtest.Config {
	bin := t.TempDir()
	for name := range strings.FieldsSeq("sh cat chmod id mkdir mktemp mv rm sha256sum sync uname") {
		if err := os.Symlink("/bin/busybox", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	c := asShell("/bin/busybox")
	c.Lines = []string{"SetEnv PATH=" + bin}
	return c
}

// TestInstall: by whatever sh the host has, it gets the program once, over one connection,
// and a newer one in the place of an older one.
func TestInstall(t *testing.T) {
	sshtest.Need(t, "busybox", "bash", "mksh")
	for name, config := range map[string]sshtest.Config{
		"dash": {}, "bash": asShell("/bin/bash"), "mksh": asShell("/bin/mksh"), "busybox": busybox(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, config)
			r, err := h.install(install.Options{DryRun: true})
			if err != nil || r.Action != install.Installed || h.has() != "" {
				t.Errorf("a dry run: %+v, %v, and there is %q", r, err, h.has())
			}
			for _, want := range []install.Result{
				{Action: install.Installed, Version: version},
				{Action: install.Unchanged, Was: version, Version: version},
			} {
				want.Arch = r.Arch
				if r, err := h.install(install.Options{}); err != nil || r != want {
					t.Errorf("got %+v, %v; want %+v", r, err, want)
				}
				h.whole()
			}
			h.write("wgkeys", older)
			if n := h.Logins(t); n != 3 {
				t.Errorf("%d connections for three calls", n)
			}
			if err := os.Mkdir(h.path(".wgkeys.4194305.abcdef"), 0o700); err != nil { // of one that was killed
				t.Fatal(err)
			}
			r, err = h.install(install.Options{})
			if err != nil || r.Action != install.Replaced || r.Was != "wgkeys v0.1" || r.Version != version {
				t.Errorf("an upgrade: %+v, %v", r, err)
			}
			h.whole()
		})
	}
}

// TestDowngrade: a wgkeys that is newer than this one stays, but where it may be replaced.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	h := newHost(t, sshtest.Config{})
	const newer = "#!/bin/sh\necho wgkeys v2.0.0\n"
	h.write("wgkeys", newer)
	for _, dry := range []bool{true, false} {
		_, err := h.install(install.Options{DryRun: dry, Version: "wgkeys v1.9.0"})
		if err == nil || !strings.Contains(err.Error(),
			`a newer wgkeys is on host "shale": it has wgkeys v2.0.0, and this machine wgkeys v1.9.0`) ||
			!strings.HasSuffix(strings.Join(fault.Hints(err), ""), ": wgkeys install --downgrade shale") {
			t.Errorf("dry: %t: got %v, hints %q", dry, err, fault.Hints(err))
		}
	}
	if text, err := os.ReadFile(h.path("wgkeys")); err != nil || string(text) != newer || h.has() != "wgkeys" {
		t.Errorf("it has %q, %v", text, err)
	}
	r, err := h.install(install.Options{Version: "wgkeys v1.9.0", Downgrade: true})
	if err != nil || r.Action != install.Replaced || r.Was != "wgkeys v2.0.0" {
		t.Errorf("got %+v, %v", r, err)
	}
	h.whole()
}

// TestNotOurs: what is in the program's place may be anything, and say anything. It stays,
// but where it may be replaced.
func TestNotOurs(t *testing.T) {
	for name, test := range map[string]struct {
		text, was string
		mode      os.FileMode
	}{
		"lines": {"#!/bin/sh\necho panic: no such thing; echo; echo goroutine 1; echo done; exit 2\n",
			"panic: no such thing", 0o755},
		"long": {"#!/bin/sh\nfor i in 1 2 3 4 5 6 7; do x=$x$x................; done; echo $x\n", "something long",
			0o755},
		"silent":         {"", "", 0o755},
		"no text":        {"\x7fELF\x00\x01\x02\n\x1b[31m\n", "", 0o755},
		"of a like name": {"#!/bin/sh\necho wgkeys2 1.0\n", "wgkeys2 1.0", 0o755},
		"no program":     {"my notes on wgkeys\n", "nothing that can be run", 0o644},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, sshtest.Config{})
			h.write("wgkeys", test.text)
			if err := os.Chmod(h.path("wgkeys"), test.mode); err != nil {
				t.Fatal(err)
			}
			for _, dry := range []bool{true, false} {
				_, err := h.install(install.Options{DryRun: dry})
				want := `cannot install wgkeys on host "shale": what is at /usr/local/bin/wgkeys is not wgkeys: ` +
					`its --version says "` + test.was
				if err == nil || !strings.Contains(err.Error(), want) ||
					!slices.Equal(fault.Hints(err), []string{"wgkeys install -y shale"}) {
					t.Errorf("dry: %t: got %v, hints %q", dry, err, fault.Hints(err))
				}
			}
			if text, err := os.ReadFile(h.path("wgkeys")); err != nil || string(text) != test.text || h.has() != "wgkeys" {
				t.Errorf("it has %q, %v", text, err)
			}
			r, err := h.install(install.Options{Others: true})
			if err != nil || r.Action != install.Replaced || r.Version != version || test.was != "" && r.Was != test.was {
				t.Errorf("got %+v, %v", r, err)
			}
			h.whole()
		})
	}
}

// TestDanglingLink: a link whose program is not there now is not overwritten unasked.
func TestDanglingLink(t *testing.T) {
	t.Parallel()
	h := newHost(t, sshtest.Config{})
	if err := os.Symlink("/mnt/not-mounted/wgkeys", h.path("wgkeys")); err != nil {
		t.Fatal(err)
	}
	_, err := h.install(install.Options{})
	if err == nil || !strings.Contains(err.Error(), `is not wgkeys: its --version says "nothing that can be run"`) {
		t.Errorf("got %v", err)
	}
	if to, err := os.Readlink(h.path("wgkeys")); err != nil || to != "/mnt/not-mounted/wgkeys" {
		t.Errorf("it leads to %q: %v", to, err)
	}
	if r, err := h.install(install.Options{Others: true}); err != nil || r.Action != install.Replaced {
		t.Errorf("got %+v, %v", r, err)
	}
	h.whole()
}

// TestLoginShells: the command is read by whatever shell the user has there, and a login
// script may have something to say first, also without a newline.
func TestLoginShells(t *testing.T) {
	sshtest.Need(t, "tcsh", "fish", "zsh", "mksh")
	home := t.TempDir()
	says := "echo Welcome to shale; printf '\\033]0;shale\\007'\n"
	if err := os.WriteFile(filepath.Join(home, ".bashrc"), []byte(says), 0o644); err != nil {
		t.Fatal(err)
	}
	var c sshtest.Config
	shells := []string{"/bin/dash", "/bin/bash", "/usr/bin/tcsh", "/usr/bin/fish", "/usr/bin/zsh", "/bin/mksh"}
	for _, shell := range shells {
		c.Users = append(c.Users, fmt.Sprintf("%s:x:0:0::%s:%s", filepath.Base(shell), home, shell))
	}
	h := newHost(t, c)
	for _, shell := range shells {
		h.write("wgkeys", older)
		if r, err := h.as(filepath.Base(shell)).install(install.Options{}); err != nil || r.Action != install.Replaced {
			t.Errorf("%s: %+v, %v", shell, r, err)
		}
		h.whole()
	}
}

// TestFirst: another wgkeys that the host's PATH has first is reported.
func TestFirst(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "wgkeys"), []byte(older), 0o755); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, sshtest.Config{Lines: []string{"SetEnv PATH=" + bin + ":/usr/local/bin:/usr/bin:/bin"}})
	for _, want := range []string{bin + "/wgkeys", bin + "/wgkeys", ""} {
		if r, err := h.install(install.Options{}); err != nil || r.First != want {
			t.Errorf("got %+v, %v; want %q", r, err, want)
		}
		h.whole()
		if h.Logins(t) == 2 {
			if err := os.RemoveAll(bin); err != nil {
				t.Fatal(err)
			}
		}
	}
}

const sudoer = "deploy:x:4242:4242::/:/bin/sh"

// sudoers gives the server a sudoers(5) file of its own.
func sudoers(t *testing.T, rules string) string {
	path := filepath.Join(t.TempDir(), "sudoers")
	if err := os.WriteFile(path, []byte(rules+"\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	return "mount --bind " + path + " /etc/sudoers"
}

func asDeploy(setup string) sshtest.Config {
	return sshtest.Config{Users: []string{sudoer}, Setup: []string{setup}}
}

// TestSudo: who is not root becomes root without a question.
func TestSudo(t *testing.T) {
	sshtest.Need(t, "sudo")
	h := newHost(t, asDeploy(sudoers(t, "deploy ALL=(root) NOPASSWD: ALL")))
	if r, err := h.as("deploy").install(install.Options{}); err != nil || r.Action != install.Installed {
		t.Errorf("%+v, %v", r, err)
	}
	h.whole()
}

// fakeUname has the host say that it is another machine.
func fakeUname(t *testing.T, says string) sshtest.Config {
	bin := t.TempDir()
	system, machine, _ := strings.Cut(says, " ")
	script := "#!/bin/sh\ncase $1 in -s) echo " + system + ";; -m) echo " + machine + ";; esac\n"
	if err := os.WriteFile(filepath.Join(bin, "uname"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return sshtest.Config{Lines: []string{"SetEnv PATH=" + bin + ":/usr/bin:/bin"}}
}

// otherPrograms is a folder with a program for arm64 that is for this machine.
func otherPrograms(t *testing.T) string {
	dir := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"wgkeys-linux-arm64": string(self), "wgkeys-linux-riscv64": older} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestFails: where it cannot be done the host is as it was, and the error says why and what
// to do.
func TestFails(t *testing.T) {
	sshtest.Need(t, "sudo")
	dir := otherPrograms(t)
	empty := &install.Programs{Folder: t.TempDir()}
	folder, nothing := &install.Programs{Folder: dir}, &install.Programs{Source: t.TempDir()}
	for name, tt := range map[string]struct {
		config sshtest.Config
		user   string
		from   *install.Programs
		says   string
		hint   string
	}{
		"no sudo": {asDeploy("mount --bind /dev/null /usr/bin/sudo"), "deploy", nil,
			`cannot become root on host "shale": user "deploy" is not root there, and there is no sudo`,
			"or on shale, as root: install sudo, then visudo"},
		"requiretty": {asDeploy(sudoers(t, "deploy ALL=(root) NOPASSWD: ALL\nDefaults:deploy requiretty")), "deploy", nil,
			`user "deploy" is not root there, and sudo says: sorry, you must have a tty to run sudo`,
			"NOPASSWD: ALL, and below it: Defaults:deploy !requiretty"},
		"no right": {asDeploy(sudoers(t, "root ALL=(ALL) ALL")), "deploy", nil,
			`cannot become root on host "shale": user "deploy" is not root there, and `, "deploy ALL=(root) NOPASSWD: ALL"},
		"no shell": {sshtest.Config{Users: []string{"guest:x:0:0::/:/usr/sbin/nologin"}}, "guest", nil,
			`no shell to work with on host "shale": it said "This account is currently not available."`, "chsh -s /bin/sh there"},
		"no command": {sshtest.Config{Setup: []string{"mount --bind /dev/null /usr/bin/sha256sum"}}, "root", nil,
			`cannot install wgkeys on host "shale": there is no command "sha256sum"`, ""},
		"full disk": {sshtest.Config{Setup: []string{"mount -t tmpfs -o size=1m tmpfs /usr/local/bin"}}, "root", nil,
			`cannot install wgkeys on host "shale": no space left on device`, "on shale: df -h /usr/local/bin"},
		"read-only": {sshtest.Config{Setup: []string{"mount -o remount,ro /usr/local/bin"}}, "root", nil,
			`cannot install wgkeys on host "shale": read-only file system`, "on shale: findmnt -T /usr/local/bin"},
		"noexec": {sshtest.Config{Setup: []string{"mount -o remount,noexec /usr/local/bin"}}, "root", nil,
			`cannot install wgkeys on host "shale": it does not run there, and the system says permission denied`,
			"on shale: findmnt -T /usr/local/bin; where it has noexec: mount -o remount,exec TARGET"},
		"a folder": {sshtest.Config{Setup: []string{"mkdir /usr/local/bin/wgkeys"}}, "root", nil,
			`cannot install wgkeys on host "shale": /usr/local/bin/wgkeys is a directory`,
			"on shale: mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.old, then wgkeys install shale"},
		"another system": {fakeUname(t, "FreeBSD amd64"), "root", nil,
			`no program for host "shale": it runs FreeBSD, and wgkeys runs on Linux`, ""},
		"another machine": {fakeUname(t, "Linux mips"), "root", nil,
			`no program for host "shale": its architecture is mips, and programs are for `, "make build"},
		"no program": {fakeUname(t, "Linux aarch64"), "root", nil,
			`and none is here for "arm64"`, "--programs DIR, or --source DIR"},
		"a wrong program": {fakeUname(t, "Linux aarch64"), "root", folder,
			`cannot install "` + dir + `/wgkeys-linux-arm64": it is a program for EM_X86_64, not for arm64`, ""},
		"no program of ours": {fakeUname(t, "Linux riscv64"), "root", folder,
			`cannot install "` + dir + `/wgkeys-linux-riscv64": it is not built by Go`, "make programs"},
		"32 bits": {fakeUname(t, "Linux armv7l"), "root", nil,
			`and none is here for "armv7"`, "--programs DIR, or --source DIR"},
		"no such file": {fakeUname(t, "Linux aarch64"), "root", empty,
			`cannot install "` + empty.Folder + `/wgkeys-linux-arm64": no such file or directory`, "make programs"},
		"no source": {fakeUname(t, "Linux aarch64"), "root", nothing,
			`cannot build the program in "` + nothing.Source + `": `, "make programs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, tt.config).as(tt.user)
			before := h.has()
			if tt.from == nil {
				tt.from = new(install.Programs)
			}
			r, err := h.install(install.Options{Program: tt.from.For})
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tt.says)) {
				t.Errorf("got %+v, %v\nwant %s", r, err, tt.says)
			}
			if hints := strings.Join(fault.Hints(err), "\n"); !strings.Contains(hints, tt.hint) {
				t.Errorf("hints %q lack %q", hints, tt.hint)
			}
			if h.has() != before {
				t.Errorf("before there was %q, and now %q", before, h.has())
			}
		})
	}
}

// TestNoFolder: what is in the place of the program's folder is named, and stays.
func TestNoFolder(t *testing.T) {
	for _, set := range []string{"touch /usr/local/bin", "ln -s /nowhere/bin /usr/local/bin"} {
		h := newHost(t, sshtest.Config{Setup: []string{"mount -t tmpfs tmpfs /usr/local", set}})
		_, err := h.install(install.Options{Program: new(install.Programs).For})
		if err == nil || !strings.Contains(err.Error(), `cannot install wgkeys on host "shale": /usr/local/bin is not a folder`) {
			t.Errorf("%s: %v", set, err)
		}
		const hint = "on shale: mv /usr/local/bin /usr/local/bin.old, then wgkeys install shale"
		if hints := strings.Join(fault.Hints(err), "\n"); !strings.Contains(hints, hint) {
			t.Errorf("%s: hints %q lack %q", set, hints, hint)
		}
	}
}

// TestCut: the connection is lost in the middle, at the beginning and at the end of the
// program. The host has the older one, and the next install finishes.
func TestCut(t *testing.T) {
	for _, at := range []int{1, 50, 100} {
		t.Run(strconv.Itoa(at), func(t *testing.T) {
			t.Parallel()
			h := newHost(t, sshtest.Config{})
			h.write("wgkeys", older)
			cut := false
			_, err := h.install(install.Options{Sent: func(done, all int) {
				if !cut && done >= all/100*at {
					cut = true
					h.KillSessions(t)
				}
			}})
			if !cut || err == nil ||
				!strings.Contains(err.Error(), `lost host "shale": it has the program that it had, or the new one whole`) {
				t.Errorf("got %v", err)
			}
			if at < 100 {
				if text, err := os.ReadFile(h.path("wgkeys")); err != nil || string(text) != older {
					t.Errorf("the program is %d bytes, %v", len(text), err)
				}
			}
			if _, err := h.install(install.Options{}); err != nil {
				t.Error(err)
			}
			h.whole()
		})
	}
}

// says is a host that says something else than is meant, and ends.
type says string

func (s says) Run(_ context.Context, _ string, in io.Reader, out io.Writer) error {
	go io.Copy(io.Discard, in)
	io.WriteString(out, string(s))
	return nil
}

// TestHostile: what a host says is bounded, and not believed.
func TestHostile(t *testing.T) {
	const hello = "wgkeys-install 1 Linux x86_64\n"
	for text, want := range map[string]string{
		strings.Repeat("x", 1<<20):           "it says too much in one line",
		strings.Repeat("x\n", 1000):          `no shell to work with on host "shale": it said "x"`,
		hello + "have a \x1b[31mlook\n":      `"have a ?[31mlook" is no answer of the protocol`,
		hello + "none\nwell\n":               `"well" is no answer of the protocol`,
		hello + "none\nfail\n":               "the host gives no reason",
		hello + "none\n":                     "the connection ended",
		hello + "deny \x1b]0;x\x07it is\n":   "?]0;x?it is",
		hello + "none\nfail a \x1b[2Jdisk\n": "a ?[2Jdisk",
	} {
		p := install.Options{Program: new(install.Programs).For}
		_, err := install.Host(t.Context(), says(text), "shale", p)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v, want %s", text, err, want)
		}
	}
}

// TestNoSSH: where ssh itself cannot be run, that is the error, and not the end of a
// connection that never was.
func TestNoSSH(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := install.Host(t.Context(), &ssh.Client{Host: "shale"}, "shale", install.Options{})
	if err == nil || !strings.Contains(err.Error(), `cannot run "ssh": there is no such program here`) {
		t.Errorf("%v", err)
	}
}

// stingy is a host that has no space left after the first piece of the program.
type stingy struct{}

func (stingy) Run(_ context.Context, _ string, in io.Reader, out io.Writer) error {
	io.WriteString(out, "wgkeys-install 1 Linux x86_64\nnone\n")
	io.CopyN(io.Discard, in, int64(len("put \n")+64+64<<10)) // a hash, and one piece
	io.WriteString(out, "fail no space left on device\n")
	return nil
}

// TestSentEnds: when Host returns nobody is told any more how much was sent.
func TestSentEnds(t *testing.T) {
	var returned, late atomic.Bool
	begun := make(chan struct{}, 1)
	_, err := install.Host(t.Context(), stingy{}, "shale", install.Options{Program: new(install.Programs).For,
		Sent: func(_, _ int) {
			select {
			case begun <- struct{}{}:
				time.Sleep(300 * time.Millisecond) // longer than Host needs for the rest
			default:
			}
			late.Store(late.Load() || returned.Load())
		}})
	returned.Store(true)
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
	<-begun
	time.Sleep(500 * time.Millisecond)
	if late.Load() {
		t.Error("told of what was sent after the end")
	}
}
