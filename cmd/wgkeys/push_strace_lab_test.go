package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
	"wgkeys/keyring/lazyregexp"
)

// A private key passes through the program and nothing of it shows: it is in no
// argument and no environment, not in what is said, and in no file but the
// host's key file. The witness is strace(1), which sees the system calls of all
// processes on basalt.
func TestLabPushTraces(t *testing.T) {
	u := labtest.FirstUsers(t)
	u.Must(u.Basalt, "rm -r vault/basalt vault/shale keyring")
	witnesses := []*witness{
		{command: "wgkeys gen basalt shale"},
		// To ssh, or to the process that speaks for this host, through a pipe;
		// from there encrypted, or into the key file.
		{command: "wgkeys push --unknown basalt shale",
			to: regexp.MustCompile(`^write\(\d+<(pipe:\[\d+\]|/etc/wireguard/\.wgkeys\.[^>]*)>`)},
		// To the kernel, or to the device in user space.
		{command: "wgkeys apply && wgkeys down", to: regexp.MustCompile(`^(write|sendmsg|sendto)\(\d+<socket:\[\d+\]>`)},
	}
	for _, w := range witnesses {
		w.said = u.Must(u.Basalt, "strace -f -qq -xx -y -s 65536 -o /root/trace sh -c '"+w.command+"' 2>&1")
		w.calls = u.Read(u.Basalt, "/root/trace")
	}
	u.Must(u.Basalt, "rm /root/trace")
	for _, w := range witnesses {
		noSecretHeard(u, w, keyOn(u, u.Basalt))
		noSecretHeard(u, w, keyOn(u, u.Shale))
		if (w.seen > 0) != (w.to != nil) {
			t.Errorf("%s: keys are in %d system calls", w.command, w.seen)
		}
		t.Logf("%s: %d system calls, %d with a key", w.command, strings.Count(w.calls, "\n"), w.seen)
	}
}

// A witness is what was seen of a command.
type witness struct {
	command     string
	to          *regexp.Regexp // the calls that may hand on a key; nil: none
	said, calls string
	seen        int // calls with a key
}

var (
	incoming = lazyregexp.New(`^(<\.\.\. )?(read|pread64|recvfrom|recvmsg)\b`)
	fileName = lazyregexp.New(`<(\\x[0-9a-f]{2})+>`)
)

// noSecretHeard goes through what a witness has seen. Only what goes out of a process
// matters: it read the key from where it may be.
func noSecretHeard(u *labtest.Users, w *witness, private string) {
	u.Helper()
	spellings := spellings(u.T, private)
	for _, s := range spellings {
		if strings.Contains(w.said, s) {
			u.Errorf("%s says a private key", w.command)
		}
	}
	for line := range strings.Lines(w.calls) {
		if !containsEscaped(line, spellings) {
			continue
		}
		w.seen++
		_, call, _ := strings.Cut(line, " ")
		call = fileName().ReplaceAllStringFunc(strings.TrimSpace(call), unescape)
		if !incoming().MatchString(call) && (w.to == nil || !w.to.MatchString(call)) {
			u.Errorf("%s: a private key is in %.60s", w.command, call)
		}
	}
}

// keyOn is the private key that a host has in the end.
func keyOn(u *labtest.Users, h *lab.Host) string {
	u.Helper()
	private := strings.TrimSpace(u.Read(h, keyFile))
	public := u.Read(u.Basalt, "/root/net/keyring/"+h.Name()+"/wg0.pub")
	if derived := u.Must(u.Basalt, "echo '"+private+"' | wg pubkey"); derived != public {
		u.Fatalf("the key file of %s is of %s, want %s", h.Name(), derived, public)
	}
	return private
}

// spellings are base64 as in files, hexadecimal as the device in user space is
// told, and the bytes themselves as the kernel is.
func spellings(t *testing.T, private string) []string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(private)
	if err != nil {
		t.Fatal(err)
	}
	return []string{strings.TrimRight(private, "="), hex.EncodeToString(raw), string(raw)}
}

// containsEscaped looks for text as strace -xx shows it.
func containsEscaped(line string, text []string) bool {
	for _, s := range text {
		var b strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&b, `\x%02x`, s[i])
		}
		if strings.Contains(line, b.String()) {
			return true
		}
	}
	return false
}

func unescape(name string) string {
	text, err := strconv.Unquote(`"` + name + `"`)
	if err != nil {
		return name
	}
	return text
}
