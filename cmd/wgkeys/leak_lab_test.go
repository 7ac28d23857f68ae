package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// TestLabNoKeyIsLeft: after everything that the program does with keys, no private
// key of it, past or present, and no preshared one is on any file system of the
// hosts or of the machine, in whatever spelling, but as a key file of its host; and
// no identity but in its own file. -long leaks leaves out nothing but Go's
// caches; the default leaves out /usr too, which takes most of the time.
func TestLabNoKeyIsLeft(t *testing.T) {
	t.Parallel()
	started := time.Now().Add(-time.Second) // clocks of files are coarse
	u := labtest.NewUsers(t)
	l := &leakHunt{Users: u, started: started, needles: &labtest.Needles{}, known: map[string]bool{},
		identities: map[string]bool{}}
	l.planted()
	for _, step := range leakSteps {
		u.Must(u.Basalt, step)
		l.collect()
		if strings.Contains(step, "check --history") {
			l.search("while the tunnel is up")
		}
	}
	l.search("in the end")
	// Of basalt and shale three keys each, of slate one, and two preshared ones, of
	// which one was replaced by each of four rotations.
	if len(l.known) != 13 {
		t.Errorf("%d secrets were known", len(l.known))
	}
}

// leakSteps are lines of shell on basalt, in the repository.
var leakSteps = []string{
	"git config --global user.name basalt && git config --global user.email basalt@example.net && git init -q && git add -A && git commit -q -m start",
	"sed -i '1i psk = true' tunnels/wg0.toml && wgkeys gen --commit basalt shale",
	"wgkeys push basalt shale && wgkeys apply basalt && wgkeys apply shale",
	"ping -6 -n -q -c 1 -w 20 2001:db8:ffff::1",
	"wgkeys rotate -y --commit basalt",
	"wgkeys rotate -y --commit --on-host shale",
	"wgkeys rotate -y --commit --now basalt",
	"wgkeys rotate -y --commit shale",
	"age-keygen -o /root/bob.txt 2>/dev/null && age-keygen -y /root/bob.txt >>vault/recipients.txt && wgkeys rekey --commit",
	`test "$(wgkeys show --secret basalt | wg pubkey)" = "$(cat keyring/basalt/wg0.pub)"`,
	"! wgkeys show --secret basalt >/root/shown",
	// shale's key is on shale alone
	"git add -A && git commit -q -m more && wgkeys check --history -i /root/bob.txt; test $? = 4",
	"wgkeys down && wgkeys down shale",
	`cat >>tunnels/wg0.toml <<'END'
[hosts.slate]
addresses = ["2001:db8:7767::3/128"]
private_key_file = "/etc/wireguard/slate.key"
END
	mkdir -p vault/slate && { test -f /root/.ssh/slate || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/slate; } && cp /root/.ssh/slate.pub vault/slate/recipients.txt
	wgkeys gen --sealed --commit slate && wgkeys push slate --host slate -i /root/.ssh/slate`,
	"git repack -q -a -d && git fsck --no-progress",
}

// A leakHunt knows the secrets that there were by now.
type leakHunt struct {
	*labtest.Users
	started time.Time
	needles *labtest.Needles
	known   map[string]bool // keys

	identities map[string]bool
}

// collect learns every secret that is in the vault or on a host. They pass through
// pipes, and lie nowhere.
func (l *leakHunt) collect() {
	l.Helper()
	for line := range strings.Lines(l.Must(l.Basalt,
		`for f in vault/*/*.age; do echo "$f" $(age -d -i /root/.config/wgkeys/identity.txt -i /root/.ssh/slate "$f" 2>/dev/null || age -d -i /root/.config/wgkeys/identity.txt "$f"); done`)) {
		l.learn(line)
	}
	for _, h := range []*lab.Host{l.Basalt, l.Shale} {
		for line := range strings.Lines(l.Must(h,
			`for f in /etc/wireguard/*.key /etc/wireguard/*.psk; do test -f "$f" && echo "$f" $(cat "$f"); done; true`)) {
			l.learn(line)
		}
	}
	for line := range strings.Lines(l.Must(l.Basalt,
		"grep -h AGE-SECRET-KEY /root/.config/wgkeys/identity.txt /root/bob.txt 2>/dev/null; true")) {
		if line = strings.TrimSpace(line); !l.identities[line] {
			l.identities[line] = true
			l.needles.Put([]byte(line), "an identity")
		}
	}
}

// learn takes a file's name and the key in it.
func (l *leakHunt) learn(line string) {
	l.Helper()
	name, key, _ := strings.Cut(strings.TrimSpace(line), " ")
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(raw) != 32 {
		l.Fatalf("%s holds no key", name)
	}
	if !l.known[key] {
		l.known[key] = true
		l.needles.Add(raw, "a key that was in "+name)
	}
}

// hunt goes through the machine and all its hosts.
func (l *leakHunt) hunt(n *labtest.Needles) *labtest.Hunt {
	l.Helper()
	var skip []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		if dir, err := exec.Command("go", "env", name).Output(); err == nil {
			skip = append(skip, strings.TrimSpace(string(dir)))
		}
	}
	everywhere := long("leaks")
	if !everywhere {
		skip = append(skip, "/usr")
	}
	h := labtest.NewHunt(n, l.started, skip...)
	h.Process("self")
	for _, host := range []*lab.Host{l.Basalt, l.Shale, l.Router} {
		if !everywhere {
			h.Skip = append(h.Skip, fmt.Sprintf("/proc/%d/root/usr", host.PID()))
		}
		h.Process(fmt.Sprint(host.PID()))
	}
	out := l.Must(l.Basalt, "git cat-file --batch-all-objects --unordered --batch")
	h.Size += int64(len(out))
	n.In([]byte(out), func(what string) { h.Found["git's objects"] = append(h.Found["git's objects"], what) })
	for _, err := range h.Errs {
		l.Errorf("not searched: %v", err)
	}
	return h
}

// search fails for each secret that is anywhere but in a key file.
func (l *leakHunt) search(when string) {
	l.Helper()
	start := time.Now()
	h := l.hunt(l.needles)
	inPlace := 0
	for path, what := range h.Found {
		if l.isKeyFile(path) {
			inPlace++
			continue
		}
		if l.isIdentity(path) && !slices.ContainsFunc(what, func(w string) bool { return w != "an identity" }) {
			continue
		}
		l.Errorf("%s: %s holds %q", when, path, slices.Compact(what))
	}
	if inPlace < 2 {
		l.Errorf("%s: only %d key files were found", when, inPlace)
	}
	l.Logf("%s: %d keys in all spellings; %d names seen, %d files and git's objects searched, %d MB, in %v: in %d key files alone", when,
		len(l.known), h.Entries, h.Files, h.Size>>20, time.Since(start).Round(time.Millisecond), inPlace)
}

// isKeyFile reports whether path is a key file in the folder for them on a host.
func (l *leakHunt) isKeyFile(path string) bool {
	for _, h := range []*lab.Host{l.Basalt, l.Shale} {
		if dir, name := filepath.Split(path); dir == fmt.Sprintf("/proc/%d/root/etc/wireguard/", h.PID()) {
			return slices.Contains([]string{"wg0.key", "slate.key", "wg0.basalt.psk", "wg0.shale.psk"}, name)
		}
	}
	return false
}

func (l *leakHunt) isIdentity(path string) bool {
	root := fmt.Sprintf("/proc/%d/root/root/", l.Basalt.PID())
	return path == root+".config/wgkeys/identity.txt" || path == root+"bob.txt"
}

// planted shows that the search finds what is there: a key in another spelling at
// each of the places where one could be.
func (l *leakHunt) planted() {
	l.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	text := base64.StdEncoding.EncodeToString(key)
	url := strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(text)
	n := &labtest.Needles{}
	n.Add(key, "planted")
	at := func(h *lab.Host, path string) string { return fmt.Sprintf("/proc/%d/root%s", h.PID(), path) }
	across := append(bytes.Repeat([]byte("x"), labtest.SearchBuffer-16), key...)
	machine := filepath.Join(l.TempDir(), "planted")
	shm := fmt.Sprintf("/dev/shm/planted-%d", os.Getpid())
	plants := map[string]func(path string) error{
		machine:                      func(p string) error { return os.WriteFile(p, []byte("PrivateKey = "+text), 0o600) },
		shm:                          func(p string) error { return os.WriteFile(p, []byte(hex.EncodeToString(key)), 0o600) },
		at(l.Basalt, "/var/lib/raw"): func(p string) error { return os.WriteFile(p, across, 0o600) },
		at(l.Basalt, "/run/hex"): func(p string) error {
			return os.WriteFile(p, fmt.Appendf(nil, "private_key=%X", key), 0o600)
		},
		at(l.Basalt, "/root/json"): func(p string) error {
			return os.WriteFile(p, []byte(base64.StdEncoding.EncodeToString([]byte(text+"\n"))), 0o600)
		},
		at(l.Basalt, "/run/over/planted"):     func(p string) error { return os.WriteFile(p, []byte(text), 0o600) },
		at(l.Shale, "/usr/local/bin/printed"): func(p string) error { return os.WriteFile(p, fmt.Append(nil, key), 0o600) },
		at(l.Shale, "/etc/link"):              func(p string) error { return os.Symlink("/nowhere/"+text, p) },
		at(l.Shale, "/home/"+url):             func(p string) error { return os.WriteFile(p, nil, 0o600) },
	}
	// A mount that another one covers: the kernel lists it, and lists it first.
	l.Must(l.Basalt, "mkdir -p /run/over/under && mount -t tmpfs tmpfs /run/over/under && mount -t tmpfs tmpfs /run/over && mkdir /run/over/under")
	defer l.Must(l.Basalt, "umount /run/over /run/over/under")
	for path, plant := range plants {
		if err := plant(path); err != nil {
			l.Fatal(err)
		}
		defer os.Remove(path)
	}
	l.Must(l.Basalt, "git init -q && printf 'key %s' "+ui.Quoted(text)+" | git hash-object -w --stdin")
	defer l.Must(l.Basalt, "rm -r .git")
	plants["git's objects"] = nil
	h := l.hunt(n)
	for path := range plants {
		if len(h.Found[path]) == 0 {
			l.Errorf("not found: the key planted in %s", path)
		}
		delete(h.Found, path)
	}
	// go test writes down each name that a test opens, the planted one too.
	if log := flag.Lookup("test.testlogfile"); log != nil {
		delete(h.Found, log.Value.String())
	}
	for path, what := range h.Found {
		l.Errorf("found %q in %s, where none was planted", what, path)
	}
}
