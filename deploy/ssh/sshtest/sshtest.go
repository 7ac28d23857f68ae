// Package sshtest starts real OpenSSH servers for tests: each on a port of its
// own on 127.0.0.1, with fresh keys, in a mount namespace where it can have
// its own users, shells and sudo rules without a trace on the machine.
package sshtest

import (
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

	"wgkeys/deploy/ssh"
	"wgkeys/keyring/lazyregexp"
	"wgkeys/keyring/words"
)

// A Config is what is special about a server.
type Config struct {
	Lines []string // more lines of sshd_config(5)
	Users []string // more lines of passwd(5), in the server's view only
	Setup []string // shell commands, run in the server's mount namespace before it starts
	Wrap  []string // a command that runs sshd: strace, say
}

// A Server is a running sshd.
type Server struct {
	Dir  string // its files: ssh_config, id, known_hosts, log
	Addr string

	cmd   *exec.Cmd
	ended chan struct{}
}

// Need skips the test where a server cannot run; in CI that is a failure.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	var missing []string
	if os.Getuid() != 0 {
		missing = append(missing, "root")
	}
	for _, p := range append(programs, "ssh", "/usr/sbin/sshd", "ssh-keygen", "unshare") {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	switch {
	case len(missing) == 0:
	case os.Getenv("CI") != "":
		t.Fatalf("missing in CI: %s", strings.Join(missing, ", "))
	default:
		t.Skipf("missing: %s", strings.Join(missing, ", "))
	}
}

// Start starts a server, which ends with the test.
func Start(t testing.TB, c Config) *Server {
	t.Helper()
	Need(t)
	s := &Server{Dir: t.TempDir()}
	must(t, os.Chmod(filepath.Dir(s.Dir), 0o755)) // sshd reads authorized_keys as the user
	must(t, os.MkdirAll("/run/sshd", 0o755))      // sshd's own chroot for its unprivileged half
	for _, name := range []string{"host", "id"} {
		s.tool(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.file(name))
	}
	s.writeUsers(t, c)
	for range 5 {
		s.Addr = freeAddr(t)
		s.writeConfig(t, c)
		if s.run(t, c); s.listens(t) {
			return s
		}
	}
	t.Fatal("each free port was taken before sshd had it")
	return nil
}

// rootsHome is root's line of passwd(5) up to the home and its colon.
var rootsHome = lazyregexp.New(`(?m)^(root:[^:]*:0:[^:]*:[^:]*:)[^:]*:`)

func (s *Server) file(name string) string { return filepath.Join(s.Dir, name) }

func (s *Server) writeConfig(t testing.TB, c Config) {
	host, port, err := net.SplitHostPort(s.Addr)
	must(t, err)
	id := read(t, s.file("id.pub"))
	s.write(t, "sshd_config", append([]string{
		"ListenAddress " + host, "Port " + port, "HostKey " + s.file("host"),
		"AuthorizedKeysFile " + s.file("authorized_keys"), "PidFile " + s.file("pid"),
		"UsePAM no", "StrictModes no", "PermitRootLogin yes", "PasswordAuthentication no",
		"KbdInteractiveAuthentication no", "MaxStartups 100", "LogLevel VERBOSE",
		// The dearest of them: three times the processor time of all the rest of a login.
		"KexAlgorithms -sntrup*",
	}, c.Lines...)...)
	s.write(t, "authorized_keys", id)
	s.write(t, "known_hosts", fmt.Sprintf("[%s]:%s %s", host, port, read(t, s.file("host.pub"))))
	s.write(t, "ssh_config", "Host *", "HostName "+host, "Port "+port, "User root",
		"IdentityFile "+s.file("id"), "IdentitiesOnly yes", "UserKnownHostsFile "+s.file("known_hosts"),
		"GlobalKnownHostsFile /dev/null", "StrictHostKeyChecking yes")
}

func (s *Server) writeUsers(t testing.TB, c Config) {
	// Root's home is empty: what the machine's own runs at a login, and how long that
	// takes, is no part of a test.
	must(t, os.Mkdir(s.file("home"), 0o700))
	s.write(t, "passwd", append([]string{rootsHome().ReplaceAllString(read(t, "/etc/passwd"), "${1}"+s.file("home")+":")},
		c.Users...)...)
	shadow := []string{"root:*:19000:0:99999:7:::"}
	for _, u := range c.Users {
		name, _, _ := strings.Cut(u, ":")
		shadow = append(shadow, name+":*:19000:0:99999:7:::")
	}
	s.write(t, "shadow", shadow...)
}

func (s *Server) run(t testing.TB, c Config) {
	script := append([]string{"set -e",
		"mount --bind " + words.Quote(s.file("passwd")) + " /etc/passwd",
		"mount --bind " + words.Quote(s.file("shadow")) + " /etc/shadow",
		// The server has no wgkeys, also where the machine has one there.
		"[ ! -d /usr/local/bin ] || mount -t tmpfs -o mode=755 programs /usr/local/bin"}, c.Setup...)
	script = append(script, `exec "$@"`)
	argv := []string{"-m", "sh", "-c", strings.Join(script, "\n"), "sh"}
	argv = append(argv, c.Wrap...)
	argv = append(argv, "/usr/sbin/sshd", "-D", "-f", s.file("sshd_config"), "-E", s.file("log"))
	said, err := os.Create(s.file("said"))
	must(t, err)
	defer said.Close()
	s.cmd = exec.Command("unshare", argv...)
	s.cmd.Stdout, s.cmd.Stderr = said, said
	must(t, s.cmd.Start())
	s.ended = make(chan struct{})
	go func() { s.cmd.Wait(); close(s.ended) }()
	t.Cleanup(s.stop)
}

// listens reports whether the server came to listen on its own port, which it says
// by its PidFile: whatever answers on the port may be another test's server, which was
// given the same one. Then this one ends, and says that the port is taken.
func (s *Server) listens(t testing.TB) bool {
	for range 500 {
		if _, err := os.Stat(s.file("pid")); err == nil {
			return true
		}
		select {
		case <-s.ended:
			if strings.Contains(s.log(t), "Address already in use") {
				return false
			}
			t.Fatalf("sshd ended: %s %s", read(t, s.file("said")), s.log(t))
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("sshd does not listen: %s", s.log(t))
	return false
}

// Stop ends the server: its port is closed when Stop returns.
func (s *Server) Stop(t testing.TB) {
	s.stop()
	for range 200 { // a child that sshd has just forked may still have the socket
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			return
		}
		conn.Close()
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("sshd still listens")
}

// stop ends sshd by the number it wrote down, because a Wrap need not pass
// signals on.
func (s *Server) stop() {
	b, _ := os.ReadFile(s.file("pid"))
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		pid = s.cmd.Process.Pid
	}
	select {
	case <-s.ended:
		return
	default:
		syscall.Kill(pid, syscall.SIGTERM)
	}
	select {
	case <-s.ended:
	case <-time.After(5 * time.Second):
		s.cmd.Process.Kill()
		<-s.ended
	}
}

// KillSessions kills all that the server has started, the sessions first: one whose command
// is killed before it would report that the command has ended.
func (s *Server) KillSessions(t testing.TB) {
	for _, p := range below(t, s.cmd.Process.Pid) {
		syscall.Kill(p, syscall.SIGKILL)
	}
}

// below are the processes below one, each before its children; see proc_pid_children(5).
func below(t testing.TB, pid int) (all []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // it may have ended
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for child := range strings.FieldsSeq(string(text)) {
			n, err := strconv.Atoi(child)
			must(t, err)
			all = append(append(all, n), below(t, n)...)
		}
	}
	return all
}

// Client returns a runner to the server, which it calls host.
func (s *Server) Client(host string) *ssh.Client {
	return &ssh.Client{Host: host, Args: []string{"-F", s.file("ssh_config")}, Batch: true}
}

// Pid returns the process that Start started.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// log returns what sshd logged.
func (s *Server) log(t testing.TB) string {
	b, _ := os.ReadFile(s.file("log"))
	return string(b)
}

// Logins returns the number of connections that logged in.
func (s *Server) Logins(t testing.TB) int {
	return strings.Count(s.log(t), "Accepted publickey")
}

func (s *Server) write(t testing.TB, name string, lines ...string) {
	must(t, os.WriteFile(s.file(name), []byte(strings.Join(lines, "\n")+"\n"), 0o644))
}

func (s *Server) tool(t testing.TB, name string, args ...string) {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

func read(t testing.TB, path string) string {
	b, err := os.ReadFile(path)
	must(t, err)
	return strings.TrimSpace(string(b))
}

// freeAddr returns an address that nobody listens on, for the moment. It is a
// variable for the test of what comes after the moment.
var freeAddr = func(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return "127.0.0.1:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
