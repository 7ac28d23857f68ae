package ssh_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/ssh"
	"wgkeys/deploy/ssh/sshtest"
	"wgkeys/keyring/fault"
)

// mute accepts connections, and says nothing.
func mute(t *testing.T) (port string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

// TestFlood: a host that writes to standard error without end, and without a pause, is given up.
func TestFlood(t *testing.T) {
	t.Parallel()
	c := *sshtest.Start(t, sshtest.Config{}).Client("shale")
	c.Limit = time.Hour
	err := c.Run(t.Context(), "exec yes >&2", strings.NewReader(""), io.Discard)
	if !errors.Is(err, ssh.ErrSilent) || !errors.Is(err, ssh.ErrUnreachable) ||
		!strings.HasSuffix(err.Error(), "it has written more than 16 MiB to standard error") {
		t.Errorf("got %v", err)
	}
	if hints := strings.Join(fault.Hints(err), " "); !strings.HasSuffix(hints, " true") {
		t.Errorf("hint %q", hints)
	}
}

// TestSilent: a host that says nothing, at whichever point, is waited for no longer
// than the limit, and what came before is there.
func TestSilent(t *testing.T) {
	t.Parallel()
	s := sshtest.Start(t, sshtest.Config{})
	asleep := s.Client("shale")
	noBanner := &ssh.Client{Host: "shale", Dest: "ssh://root@127.0.0.1:" + mute(t), Batch: true}
	for name, tt := range map[string]struct {
		r              ssh.Runner
		limit          time.Duration
		command, heard string
		want           string
		in             string
	}{
		"no banner": {noBanner, time.Second, "true", "", "it has said nothing for 1s", ""},
		"no word":   {asleep, time.Second, "sleep 60", "", "it has said nothing for 1s", ""},
		"no end":    {asleep, 6 * time.Second, "echo begun; exec sleep 60", "begun\n", "it has said nothing for 6s", ""},
		"begun, and reads no more": {asleep, 6 * time.Second, "echo begun; exec sleep 60", "begun\n",
			"it has said nothing for 6s", strings.Repeat("more than all buffers hold ", 200_000)},
		"drop by drop": {ssh.Local{}, 2 * time.Second, "while :; do echo .; sleep 0.3; done", ".\n",
			"it has not come to an end in 20s", ""},
		"errors alone": {asleep, 2 * time.Second, "while :; do echo wait >&2; sleep 0.3; done", "",
			"it has said nothing for 4s but on standard error", ""},
		"an answer, and then errors alone": {asleep, 3 * time.Second,
			"echo begun; while :; do echo wait >&2; sleep 0.3; done", "begun\n",
			"it has said nothing for 6s but on standard error", ""},
		"here": {ssh.Local{}, time.Second, "sleep 60", "", "it has said nothing for 1s", ""},
		"deaf": {ssh.Local{}, time.Second, "trap '' TERM; sleep 60 & wait", "", "it has said nothing for 1s", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hint := ""
			switch r := tt.r.(type) {
			case *ssh.Client:
				limited := *r
				limited.Limit, tt.r = tt.limit, &limited
				hint = fmt.Sprintf("--timeout %v", 4*tt.limit)
			case ssh.Local:
				tt.r = ssh.Local{Limit: tt.limit}
			}
			var out bytes.Buffer
			err := tt.r.Run(t.Context(), tt.command, strings.NewReader(tt.in), &out)
			if !errors.Is(err, ssh.ErrSilent) || !errors.Is(err, ssh.ErrUnreachable) || !strings.HasSuffix(err.Error(),
				tt.want) {
				t.Errorf("got %v", err)
			}
			if !strings.HasPrefix(out.String(), tt.heard) {
				t.Errorf("heard %q, want %q", out.String(), tt.heard)
			}
			if hints := strings.Join(fault.Hints(err), " "); !strings.HasSuffix(hints, hint) {
				t.Errorf("hint %q, want %q", hints, hint)
			}
		})
	}
}

// TestAnswerAmongErrors: whoever goes on answering is waited for, whatever else it says.
func TestAnswerAmongErrors(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	const talks = "for i in 1 2 3; do for j in 1 2 3 4 5 6; do echo wait >&2; sleep 0.8; done; echo $i; done"
	err := ssh.Local{Limit: 4 * time.Second}.Run(t.Context(), talks, nil, &out)
	if err != nil || out.String() != "1\n2\n3\n" {
		t.Errorf("heard %q, %v", out.String(), err)
	}
}

// TestSilentAtWork: a program of this machine that is at work, or waits for the processor,
// is not a host that says nothing.
func TestSilentAtWork(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	const busy = "up() { read u _ </proc/uptime; u=${u%.*}; }; up; end=$((u + 4)); while [ $u -lt $end ]; do up; done; echo done"
	if err := (ssh.Local{Limit: time.Second}).Run(t.Context(), busy, nil, &out); err != nil || out.String() != "done\n" {
		t.Errorf("heard %q, %v", out.String(), err)
	}
}

// TestSilentConversation: once a host has spoken, and is waiting for us, it is not
// the one that is late; nor is it while we do not read what it says.
func TestSilentConversation(t *testing.T) {
	t.Parallel()
	s := sshtest.Start(t, sshtest.Config{})
	c := s.Client("shale")
	c.Limit = 4 * time.Second
	session := ssh.Start(t.Context(), c, "echo hello; read x; echo $x; head -c 1000000 /dev/zero; echo end")
	hello := make([]byte, 6)
	io.ReadFull(session.Stdout, hello)
	time.Sleep(3 * c.Limit / 2)
	fmt.Fprintln(session.Stdin, "slow")
	io.ReadFull(session.Stdout, hello[:5])
	session.Stdin.Close()
	time.Sleep(3 * c.Limit / 2)
	rest, _ := io.ReadAll(session.Stdout)
	if err := session.Wait(); err != nil || !bytes.HasSuffix(rest, []byte("\x00end\n")) {
		t.Errorf("got %d bytes, %v", len(rest), err)
	}
}

// TestSilentPerson: whoever is asked for a passphrase may take his time.
func TestSilentPerson(t *testing.T) {
	t.Parallel()
	s := sshtest.Start(t, sshtest.Config{})
	setPassphrase(t, s.Dir, "long ago")
	p := startPerson(t, nil, s.Dir)
	p.waitFor("passphrase")
	time.Sleep(8 * time.Second)
	p.answer("long ago")
	if said := p.end(); !strings.Contains(said, "shale0 in time") {
		t.Errorf("got %q", said)
	}
}
