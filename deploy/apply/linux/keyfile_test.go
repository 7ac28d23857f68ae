package linux_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// TestKeyFiles: the error about a key file that cannot be used has its path, the reason and
// a hint, and no byte of the file. Reading never blocks.
func TestKeyFiles(t *testing.T) {
	good := applytest.PrivateKey(applytest.Own[0]).File()
	write := func(text string, mode os.FileMode) func(string) error {
		return func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode))
		}
	}
	tests := []struct {
		name, why string // why is "" if the file can be used
		make      func(path string) error
	}{
		{"good", "", write(string(good), 0o600)},
		{"read-only", "", write(string(good), 0o400)},
		{"link to a good one", "", func(path string) error {
			return errors.Join(write(string(good), 0o600)(path+".there"), os.Symlink(path+".there", path))
		}},
		{"missing", "no such file", func(string) error { return nil }},
		{"link to nothing", "no such file", func(path string) error { return os.Symlink(path+".gone", path) }},
		{"link to itself", "symbolic link", func(path string) error { return os.Symlink(path, path) }},
		{"empty", "empty", write("", 0o600)},
		{"truncated", "bad-length", write(string(good[:20]), 0o600)},
		{"two lines", "bad-length", write(string(good)+string(good), 0o600)},
		{"zero", "zero", write(strings.Repeat("A", 43)+"=\n", 0o600)},
		{"a config", "bad-length", write("[Interface]\nPrivateKey = "+string(good), 0o600)},
		{"world-readable", "others on this host", write(string(good), 0o644)},
		{"of a group that somebody chose", "", func(path string) error {
			return errors.Join(write(string(good), 0o640)(path), os.Chown(path, 0, 1))
		}},
		{"of root's group, by a umask", "others on this host", write(string(good), 0o640)},
		{"group-writable, of a group", "others on this host", func(path string) error {
			return errors.Join(write(string(good), 0o660)(path), os.Chown(path, 0, 1))
		}},
		{"group-writable", "others on this host", write(string(good), 0o620)},
		{"directory", "directory", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"FIFO", "no regular file", func(path string) error { return unix.Mkfifo(path, 0o600) }},
		{"device without end", "no regular file", func(path string) error {
			return unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))) // /dev/zero
		}},
		{"large", "bad-length", write(strings.Repeat("A", 1<<20), 0o600)},
	}
	newHost(t)
	for _, test := range tests {
		path := filepath.Join(t.TempDir(), "wg0.key")
		must(t, test.make(path))
		k, err := linux.Open() // without keys from an earlier read
		must(t, err)
		v := &tunnel.View{Tunnel: "wg0", Host: "shale", PublicKey: publicKey(applytest.Own[0]), PrivateKeyFile: path}
		done := make(chan *apply.State, 1)
		go func() {
			s, _ := k.Observe(t.Context(), "wg0", v, nil)
			done <- s
		}()
		var state *apply.State
		select {
		case state = <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: still reading after 10 s", test.name)
		}
		k.Close()
		checkKeyFile(t, test.name, test.why, path, string(good), state.KeyFiles[path])
	}
	if d := run(t, "ip", "-o", "link"); strings.Contains(d, "wg0") {
		t.Errorf("looking made an interface: %s", d)
	}
}

func checkKeyFile(t *testing.T, name, why, path, secret string, file apply.KeyFile) {
	t.Helper()
	if why == "" {
		if file.Err != nil || file.PublicKey != publicKey(applytest.Own[0]) {
			t.Errorf("%s: %v", name, file.Err)
		}
		return
	}
	if file.Err == nil {
		t.Errorf("%s: it is taken", name)
		return
	}
	text := file.Err.Error()
	if !strings.Contains(text, why) || !strings.Contains(text, path) {
		t.Errorf("%s: %s; want %q and the path", name, text, why)
	}
	if len(fault.Hints(file.Err)) == 0 {
		t.Errorf("%s: no hint: %s", name, text)
	}
	if strings.Contains(text, secret[:8]) || !file.PublicKey.IsZero() {
		t.Errorf("%s: the error holds the file: %s", name, text)
	}
}

// otherUserName is argv[0] of the process that tries without privileges.
const otherUserName = "wgkeys-test-other-user"

// otherUser prints the errors that a user without privileges gets, one per line.
func otherUser() {
	k, err := linux.Open()
	if err == nil {
		for _, c := range []apply.Change{
			apply.LinkChange{Name: "wg7", New: &apply.Link{MTU: 1420}},
			apply.SysctlChange{Key: "net/ipv4/ip_forward", Old: "0", New: "1"},
			apply.ProxyChange{Proxy: apply.Proxy{Link: "eth0", Addr: prefix("2001:db8::9/128").Addr()}, Add: true},
			apply.UnreachableChange{Route: apply.Unreachable{Prefix: prefix("0.0.0.0/0"), Table: 51820}, Add: true},
			apply.RuleChange{Rule: apply.Rule{Priority: 32764, AtLeast: 1}, Add: true},
			apply.FilterChange{Link: "wg7", New: &apply.Filter{Link: "wg7", Masquerade: applytest.Prefixes("10.0.0.0/8")}},
		} {
			err = k.Do(context.Background(), []apply.Change{c})
			os.Stdout.WriteString(errText(err) + "\n")
		}
	}
	os.Exit(0)
}

func errText(err error) string {
	if err == nil {
		return "done"
	}
	return err.Error() + " | " + strings.Join(fault.Hints(err), " ")
}

// TestNoRights: a user who may not change the network is told to be root.
func TestNoRights(t *testing.T) {
	newHost(t)
	origin := dump(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{otherUserName}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 6 {
		t.Fatalf("%d answers: %s", len(lines), out)
	}
	for _, line := range lines {
		if !strings.Contains(line, "no right to change the network") || !strings.Contains(line, fault.AsRoot) {
			t.Errorf("told: %s", line)
		}
	}
	if d := diff(origin, dump(t)); d != "" {
		t.Errorf("and yet\n%s", d)
	}
}
