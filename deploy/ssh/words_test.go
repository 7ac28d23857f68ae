package ssh

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// UseLaterOptions has a test's ssh get other options than those of a later one.
func UseLaterOptions(t *testing.T, options ...string) {
	was, older := laterOptions, olderSSH.Load()
	laterOptions = options
	olderSSH.Store(false)
	t.Cleanup(func() {
		laterOptions = was
		olderSSH.Store(older)
	})
}

// TestRemarks: what ssh remarks about a connection is no part of an error, and not
// what the watcher is shown.
func TestRemarks(t *testing.T) {
	const warned = "** WARNING: connection is not using a post-quantum key exchange algorithm.\r\n" +
		"** This session may be vulnerable to \"store now, decrypt later\" attacks.\r\n" +
		"** The server may need to be upgraded. See https://openssh.com/pq.html\r\n"
	for name, tt := range map[string]struct {
		said, last, all string
		remarks         int
	}{
		"before the reason": {warned + "root@shale: Permission denied (publickey).\r\n",
			"root@shale: Permission denied (publickey)", "root@shale: Permission denied (publickey).", 3},
		"after the reason": {"wgkeys: error: no\n" + warned, "wgkeys: error: no", "wgkeys: error: no", 3},
		"alone":            {warned, "", "", 3},
		"twice":            {warned + warned, "", "", 3},
		"no newline": {warned + "Host key verification failed.", "Host key verification failed",
			"Host key verification failed.", 3},
		"known hosts": {"Warning: Permanently added 'shale' (ED25519) to the list of known hosts.\r\nno\n", "no", "no",
			0},
		"of the host": {"* no remark\n*** nor this\n", "*** nor this", "* no remark; *** nor this", 0},
	} {
		var seen bytes.Buffer
		h := &hearing{watch: &seen}
		for b := range strings.SplitAfterSeq(tt.said, " ") { // it comes in pieces
			h.Write([]byte(b))
		}
		h.end()
		if h.last() != tt.last || h.String() != tt.all || len(h.remarks) != tt.remarks {
			t.Errorf("%s: last %q, all %q, remarks %q", name, h.last(), h.String(), h.remarks)
		}
		if strings.Contains(seen.String(), "** This") {
			t.Errorf("%s: seen %q", name, seen.String())
		}
	}
}

// TestFlood: of very many lines the last ones are kept.
func TestFlood(t *testing.T) {
	h := &hearing{}
	for range 64 {
		h.Write(bytes.Repeat([]byte("y\n"), 16<<10))
	}
	if text := h.String(); len(h.lines()) != maxStderr/2 || !strings.HasSuffix(text, "; y; y") {
		t.Errorf("%d lines are kept", len(h.lines()))
	}
}

// TestWaitsForWatcher: only while the user may be reading is a host not late. One that
// writes errors without an end keeps this program busy, and is late all the same.
func TestWaitsForWatcher(t *testing.T) {
	w := &watchdog{limit: time.Second}
	parsed, shown := int32(-1), int32(-1)
	h := &hearing{wait: w.wait}
	h.tell = func(string) bool { parsed = w.waiting.Load(); return false }
	h.watch = watcher(func() { shown = w.waiting.Load() })
	w.errorOutput(h).Write([]byte("no\n"))
	if after := w.waiting.Load(); parsed != 0 || shown != 1 || after != 0 {
		t.Errorf("waiting: %d while it is parsed, %d while it is shown, %d after that", parsed, shown, after)
	}
}

type watcher func()

func (w watcher) Write(p []byte) (int, error) { w(); return len(p), nil }

// TestTriedAgainQuietly: of a connection that is tried again the watcher hears nothing.
func TestTriedAgainQuietly(t *testing.T) {
	var seen bytes.Buffer
	h := &hearing{watch: &seen}
	h.Write([]byte("kex_exchange_identification: read: Connection reset by peer\r\nConnection reset by 192.0.2.2 port " +
		"22\r\n" +
		"kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port " +
		"65535\r\nKilled by signal 1.\r\nConfirm user presence\r\n"))
	if h.end(); seen.String() != "Confirm user presence\n" || len(h.lines()) != 5 {
		t.Errorf("seen %q, kept %q", seen.String(), h.lines())
	}
}

// TestReports: of what ssh -v says nothing is shown but what matters.
func TestReports(t *testing.T) {
	h := &hearing{verbose: true}
	h.Write([]byte("OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.19\r\ndebug1: Connecting to shale port 22.\r\n" +
		"debug1: kex_exchange_identification: banner line 0: Not allowed at this time\r\n" +
		"kex_exchange_identification: Connection closed by remote host\r\n"))
	a := &attempt{code: ownFault, said: h.end()}
	if h.String() != "kex_exchange_identification: Connection closed by remote host" ||
		h.beforeBanner != "Not allowed at this time" || !a.closedEarly() {
		t.Errorf("%q, %q", h.String(), h.beforeBanner)
	}
	h.Write([]byte("Authenticated to shale ([192.0.2.1]:22) using \"publickey\".\r\n"))
	if a.closedEarly() {
		t.Error("begun again after authentication")
	}
}

// TestClosedEarly knows ssh's words for it from those for other failures.
func TestClosedEarly(t *testing.T) {
	for line, want := range map[string]bool{
		"kex_exchange_identification: Connection closed by remote host":                     true,
		"kex_exchange_identification: read: Connection reset by peer":                       true,
		"ssh_exchange_identification: Connection closed by remote host":                     true,
		"kex_exchange_identification: write: Broken pipe":                                   true,
		"Connection closed by UNKNOWN port 65535":                                           true,
		"Connection reset by 192.0.2.1 port 22":                                             true,
		"Connection closed by 2001:db8::1%eth0 port 22":                                     true,
		"banner exchange: Connection to UNKNOWN port 65535: Broken pipe":                    true,
		"ssh_dispatch_run_fatal: Connection to 192.0.2.1 port 22: Connection reset by peer": true,

		"root@192.0.2.1: Permission denied (publickey).":                                 false,
		"Connection to shale closed by remote host.":                                     false,
		"client_loop: send disconnect: Broken pipe":                                      false,
		"ssh: connect to host shale port 22: Connection refused":                         false,
		"Connection timed out during banner exchange":                                    false,
		"Host key verification failed.":                                                  false,
		"kex_exchange_identification: client sent invalid protocol identifier":           false,
		"Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures": false,
	} {
		h := &hearing{}
		h.Write([]byte(line + "\r\n"))
		if got := (&attempt{code: ownFault, said: h.end()}).closedEarly(); got != want {
			t.Errorf("%q: %v", line, got)
		}
		if (&attempt{code: ownFault, said: h, heard: true}).closedEarly() || (&attempt{code: 1, said: h}).closedEarly() {
			t.Errorf("%q: begun again though the command ran", line)
		}
	}
}

// TestFinalWords: with what ssh itself gives up the error begins, so the watcher does not see
// it, unless ssh goes on.
func TestFinalWords(t *testing.T) {
	for said, want := range map[string]string{
		"ssh: connect to host 192.0.2.2 port 22: Connection refused\r\n":                             "",
		"Confirm user presence\r\nroot@shale: Permission denied (publickey).\r\n":                    "Confirm user presence\n",
		"ssh: connect to host 192.0.2.2 port 22: Connection refused\r\nConfirm user presence\r\n":    "ssh: connect to host 192.0.2.2 port 22: Connection refused\nConfirm user presence\n",
		"@@@ IT IS POSSIBLE\r\nHost key verification failed.\r\n":                                    "@@@ IT IS POSSIBLE\n",
		"client_loop: send disconnect: Broken pipe\r\nwgkeys: error: no such thing\r\nwgkeys: 1\r\n": "client_loop: send disconnect: Broken pipe\nwgkeys: error: no such thing\nwgkeys: 1\n",
	} {
		var seen bytes.Buffer
		h := &hearing{watch: &seen}
		h.Write([]byte(said))
		if h.end(); seen.String() != want {
			t.Errorf("%q: seen %q, want %q", said, seen.String(), want)
		}
		if h.show(); !strings.HasSuffix(seen.String(), Printable(h.lines()[len(h.lines())-1])+"\n") {
			t.Errorf("%q: seen %q in the end", said, seen.String())
		}
	}
}
