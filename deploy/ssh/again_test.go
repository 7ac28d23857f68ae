package ssh_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wgkeys/deploy/ssh"
	"wgkeys/deploy/ssh/sshtest"
)

// crowd keeps a connection open that does not authenticate.
func crowd(t *testing.T, s *sshtest.Server) net.Conn {
	for range 100 { // the one by which the server was found to listen may still count
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		said := make([]byte, 100)
		if n, _ := conn.Read(said); bytes.HasPrefix(said[:n], []byte("SSH-")) {
			return conn
		}
		conn.Close()
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("sshd lets nobody in")
	return nil
}

// tooMany is what is said of an sshd that lets in no more: until OpenSSH 10 it names the
// reason, from then on it has one sentence for all.
func tooMany(t *testing.T) string {
	t.Helper()
	version, _ := exec.Command("/usr/sbin/sshd", "-V").CombinedOutput() // older ones have no -V, and say it with the usage
	if bytes.Contains(version, []byte("OpenSSH_9.")) || bytes.Contains(version, []byte("OpenSSH_8.")) {
		return ` (sshd said "Exceeded MaxStartups")`
	}
	return ` (sshd said "Not allowed at this time": MaxStartups or PerSourcePenalties)`
}

// TestClosedBeforeAuthentication: sshd drops connections when too many are not
// authenticated yet. They are tried again, with all of standard input.
func TestClosedBeforeAuthentication(t *testing.T) {
	s := sshtest.Start(t, sshtest.Config{Lines: []string{"MaxStartups 1:100:10"}})
	conn := crowd(t, s)
	c := s.Client("shale")
	c.Limit = 20 * time.Second
	var notes atomic.Int32
	c.Note = func(text string) {
		if notes.Add(1) == 1 {
			conn.Close()
		}
		if text != "the connection was closed before authentication"+tooMany(t)+"; trying again" {
			t.Errorf("note: %q", text)
		}
	}
	in := strings.Repeat("all of it\n", 20_000)
	var out bytes.Buffer
	if err := c.Run(t.Context(), "cat", strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != in {
		t.Errorf("%d bytes came back of %d", out.Len(), len(in))
	}
	if notes.Load() != 1 {
		t.Errorf("%d notes, want 1", notes.Load())
	}
}

// TestClosedBeforeAuthenticationOnTheWay: the bastion drops the connection, and ssh
// has no more to say of it than UNKNOWN port 65535.
func TestClosedBeforeAuthenticationOnTheWay(t *testing.T) {
	bastion := sshtest.Start(t, sshtest.Config{Lines: []string{"MaxStartups 1:100:10"}})
	s := sshtest.Start(t, sshtest.Config{})
	c := s.Client("shale")
	c.Args = append(c.Args, "-o", "ProxyCommand=ssh -F "+filepath.Join(bastion.Dir, "ssh_config")+" -W "+s.Addr+" bastion")
	conn := crowd(t, bastion)
	c.Limit = 20 * time.Second
	c.Note = func(string) { conn.Close() }
	var out bytes.Buffer
	if err := c.Run(t.Context(), "cat", strings.NewReader("in"), &out); err != nil || out.String() != "in" {
		t.Fatalf("got %q, %v", out.String(), err)
	}
}

// TestNeverAuthenticated holds the words where no time is left.
func TestNeverAuthenticated(t *testing.T) {
	s := sshtest.Start(t, sshtest.Config{Lines: []string{"MaxStartups 1:100:10"}})
	crowd(t, s)
	c := s.Client("shale")
	c.Limit = 2 * time.Second
	err := c.Run(t.Context(), "true", nil, nil)
	if err == nil || !errors.Is(err, ssh.ErrUnreachable) {
		t.Fatalf("got %v", err)
	}
	for _, word := range []string{`cannot reach host "shale": closed before authentication` + tooMany(t), " times in "} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("no %q in: %v", word, err)
		}
	}
	if strings.Contains(err.Error(), "debug1") {
		t.Errorf("got %v", err)
	}
}

// TestOnceBegunNotAgain: a connection that is lost after the command began is no
// reason to begin it again.
func TestOnceBegunNotAgain(t *testing.T) {
	s := sshtest.Start(t, sshtest.Config{})
	runs := filepath.Join(t.TempDir(), "runs")
	c := s.Client("shale")
	c.Limit = 5 * time.Second
	err := c.Run(t.Context(), "echo run >>"+runs+"; kill -9 $PPID; sleep 1", nil, nil)
	if !errors.Is(err, ssh.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	if text, _ := os.ReadFile(runs); string(text) != "run\n" {
		t.Errorf("runs: %q", text)
	}
}

// TestOnTheWay: where the ssh to a bastion fails the reason is its own, and nothing is tried
// again: what ssh says last is the same as of a bastion that is too busy.
func TestOnTheWay(t *testing.T) {
	s, bastion := sshtest.Start(t, sshtest.Config{}), sshtest.Start(t, sshtest.Config{})
	closed := sshtest.Start(t, sshtest.Config{})
	closed.Stop(t)
	for name, tt := range map[string]struct{ options, bastion, to, why string }{
		"refused":     {"", closed.Dir, s.Addr, "ssh: connect to host 127.0.0.1 port "},
		"unknown key": {"-o UserKnownHostsFile=/dev/null", bastion.Dir, s.Addr, "Host key verification failed"},
		"no login":    {"-o PubkeyAuthentication=no", bastion.Dir, s.Addr, "root@127.0.0.1: Permission denied ("},
		"no host":     {"", bastion.Dir, closed.Addr, "channel 0: open failed: connect failed: Connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := s.Client("shale")
			c.Args = append(c.Args, "-o", "ProxyCommand=ssh -F "+filepath.Join(tt.bastion, "ssh_config")+
				" -o BatchMode=yes "+tt.options+" -W "+tt.to+" bastion")
			c.Limit = 20 * time.Second
			c.Note = func(text string) { t.Errorf("tried again: %s", text) }
			err := c.Run(t.Context(), "true", nil, nil)
			want := `cannot reach host "shale": on the way there: ` + tt.why
			if !errors.Is(err, ssh.ErrUnreachable) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}
