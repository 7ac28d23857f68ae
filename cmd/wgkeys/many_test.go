package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh/sshtest"
	"wgkeys/keyring/lazyregexp"
)

// TestHostileHosts: among several, one that never stops talking comes to an end, and the
// advice of another is not taken for this machine's.
func TestHostileHosts(t *testing.T) {
	t.Parallel()
	endless := sshtest.Start(t, sshtest.Config{Lines: []string{"ForceCommand exec yes a step"}})
	// It has another version too, which is not guessed to be why where it says why.
	advice := `case "$SSH_ORIGINAL_COMMAND" in *--version*) echo wgkeys other; exit 0;; esac; echo wgkeys begins; echo "wgkeys: error: no" >&2; echo "wgkeys: hint: true; touch /advice" >&2; exit 1`
	adviser := sshtest.Start(t, sshtest.Config{Lines: []string{"ForceCommand " + advice}})
	f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": endless, "beta": adviser})
	f.must("gen", "-q", "alpha", "beta")
	for _, flag := range []string{"--all", "--json"} {
		code, _, said := f.run("plan", flag, "alpha", "beta")
		for _, want := range []string{
			`wgkeys plan failed on host "alpha": the host says too much`,
			"hint: as beta says: true; touch /advice\n", "not done on 2 of 2 hosts",
		} {
			if code != ui.ExitFailed || !strings.Contains(said, want) {
				t.Errorf("%s exits %d, no %q in\n%.2000s", flag, code, want, said)
			}
		}
	}
	for _, verb := range []string{"plan alpha", "confirm alpha"} { // one alone is shown as it comes
		code, out, said := f.run(strings.Fields(verb)...)
		if code != ui.ExitFailed || !strings.Contains(said, `failed on host "alpha": the host says too much`) {
			t.Errorf("%s exits %d after %d bytes:\n%.2000s", verb, code, len(out), said)
		}
	}
}

// anyKey matches a key as files have it.
var anyKey = lazyregexp.New(`[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=`)

// TestEchoingHost: one that answers each command with what it was sent shows no key of that to
// anybody, nothing is taken for done there, and each verb ends.
func TestEchoingHost(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]string{"out": "exec cat", "err": "exec cat >&2"} {
		s := sshtest.Start(t, sshtest.Config{Lines: []string{"ForceCommand " + command}})
		f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": s, "beta": s})
		f.must("gen", "-q", "alpha", "beta")
		for _, verb := range []string{"push alpha", "apply alpha", "status alpha", "rotate -y alpha",
			"install --up alpha"} {
			t.Run(name+"/"+verb, func(t *testing.T) {
				t.Parallel()
				code, out, said := f.run(append(strings.Fields(verb), "-v", "--timeout", "2s")...)
				if code == 0 {
					t.Errorf("exits 0: %s%s", out, said)
				}
				for _, key := range anyKey().FindAllString(out+said, -1) {
					if !f.isPublic(key) {
						t.Errorf("a key that is not public is shown:\n%s%s", out, said)
					}
				}
			})
		}
	}
}

// isPublic reports whether the repository has a public key.
func (f *fleet) isPublic(key string) bool {
	f.Helper()
	files, err := filepath.Glob(filepath.Join(f.dir, "keyring", "*", "*.pub"))
	if err != nil || len(files) == 0 {
		f.Fatal("no public keys: ", err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), key)
	})
}

// TestGreeting: what a login shell says by itself is no answer, and no other version, also
// where its last line has no newline.
func TestGreeting(t *testing.T) {
	t.Parallel()
	greets := `ForceCommand echo Welcome to this host; echo "{ * }" >&2; printf title; PATH=` +
		filepath.Dir(which(t, "wgkeys")) + `:$PATH; export PATH; eval "$SSH_ORIGINAL_COMMAND"`
	s := sshtest.Start(t, sshtest.Config{Lines: []string{greets}})
	f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": s, "beta": s})
	f.must("gen", "-q", "alpha", "beta")
	code, out, said := f.run("status", "--json", "alpha")
	if got := statusOf(t, out, "alpha"); got.Version == "" || got.Error != "" {
		t.Errorf("exits %d: %s%s", code, out, said)
	}
	code, out, said = f.run("confirm", "--json", "alpha")
	if !strings.HasPrefix(out, "{") && !strings.HasPrefix(out, "[") {
		t.Errorf("confirm exits %d: %s%s", code, out, said)
	}
	if code, out, said = f.run("install", "alpha"); code != 0 || out == "" {
		t.Errorf("install exits %d: %s%s", code, out, said)
	}
}

// TestBanner: what each host of a company shows at a login is not repeated for each of them, and
// what wgkeys says there is.
func TestBanner(t *testing.T) {
	t.Parallel()
	banner := filepath.Join(t.TempDir(), "banner")
	if err := os.WriteFile(banner, []byte("No trespassing\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	servers := map[string]*sshtest.Server{}
	for _, host := range []string{"alpha", "beta"} {
		servers[host] = sshtest.Start(t, sshtest.Config{Lines: []string{"Banner " + banner},
			Setup: []string{"install -m 755 " + which(t, "wgkeys") + " /usr/local/bin/wgkeys"}})
	}
	f := newFleet(t, twoHosts, servers)
	f.must("gen", "-q", "alpha", "beta")
	for _, verb := range []string{"plan", "confirm", "down", "install"} {
		_, out, said := f.run(verb, "alpha", "beta")
		if !strings.Contains(out+said, "alpha: ") || strings.Contains(out+said, "trespassing") {
			t.Errorf("%s says\n%s%s", verb, out, said)
		}
	}
}

// TestGreetsOnly: a login shell that says something, and then nothing more, is not waited
// for for ever.
func TestGreetsOnly(t *testing.T) {
	t.Parallel()
	s := sshtest.Start(t, sshtest.Config{Lines: []string{"ForceCommand echo Welcome; exec sleep 100"}})
	f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": s})
	f.must("gen", "-q", "alpha", "beta")
	for _, verb := range []string{"push", "install", "status", "plan", "rotate -y", "down", "confirm"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			code, out, said := f.run(append(strings.Fields(verb), "alpha", "--timeout", "4s")...)
			if code != ui.ExitFailed || !strings.Contains(said, `no shell to work with on host "alpha": it said "Welcome"`) {
				t.Errorf("exits %d: %s%s", code, out, said)
			}
		})
	}
}

// TestEmptyProgram: where a full disk has left an empty file of wgkeys nothing is done, and
// nothing is said to be done.
func TestEmptyProgram(t *testing.T) {
	t.Parallel()
	s := sshtest.Start(t, sshtest.Config{Setup: []string{"install -m 755 /dev/null /usr/local/bin/wgkeys"}})
	f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": s})
	f.must("gen", "-q", "alpha", "beta")
	for _, verb := range []string{"status", "plan", "apply", "confirm", "down", "rotate -y"} {
		code, out, said := f.run(append(strings.Fields(verb), "alpha")...)
		if code != ui.ExitFailed || !strings.Contains(said, `host "alpha": it is not installed there`) ||
			!strings.Contains(said, "wgkeys install alpha") {
			t.Errorf("%s exits %d: %s%s", verb, code, out, said)
		}
	}
	if code, out, said := f.run("install", "-y", "alpha"); code != 0 || !strings.Contains(out, "replaced") {
		t.Errorf("install exits %d: %s%s", code, out, said)
	}
}

// TestNoSudo: a user whom sudo refuses is told what to write there, by every verb.
func TestNoSudo(t *testing.T) {
	t.Parallel()
	refuses := sshtest.Start(t,
		sshtest.Config{Lines: []string{`ForceCommand echo wgkeys begins; echo sudo: a password is required >&2; exit 1`}})
	f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": refuses, "beta": refuses})
	f.must("gen", "-q", "alpha", "beta")
	for _, verb := range []string{"plan alpha beta", "apply alpha", "status", "down --all"} {
		code, _, said := f.run(strings.Fields(verb)...)
		for _, want := range []string{
			`cannot become root on host "alpha": the user is not root there, and sudo says: a password is required`,
			"hint: on alpha: visudo ",
		} {
			if code != ui.ExitFailed || !strings.Contains(said, want) {
				t.Errorf("%s exits %d, no %q in\n%s", verb, code, want, said)
			}
		}
	}
}

// TestRotateNone: of rotations that fail or are not begun, none is done.
func TestRotateNone(t *testing.T) {
	t.Parallel()
	f := newFleet(t, twoHosts, nil)
	f.must("gen", "-q", "alpha", "beta")
	code, _, said := f.run("rotate", "-y", "--stop-after", "1", "alpha", "beta")
	if code != ui.ExitFailed || !strings.Contains(said, `did not replace the key of "alpha, beta"`) {
		t.Errorf("exits %d: %s", code, said)
	}
	// With tunnels of their own each is named, for a key that was replaced is not to be
	// replaced once more.
	f.write(f.dir+"/tunnels/wg1.toml", strings.ReplaceAll(twoHosts, "10.7.", "10.8."))
	f.must("gen", "-q", "-t", "wg1", "alpha", "beta")
	_, _, said = f.run("rotate", "-y", "--timeout", "5s", "alpha")
	for _, want := range []string{"then: wgkeys rotate -t wg0 --yes --timeout 5s alpha",
		"then: wgkeys rotate -t wg1 --yes"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	if code, _, said := f.run("rotate", "-n", "--all", "nosuch"); code != ui.ExitUsage {
		t.Errorf("a name beside --all: exits %d: %s", code, said)
	}
}

// TestPushWithoutOne: a host for which the repository has no key yet keeps nobody else from
// theirs, however they are meant.
func TestPushWithoutOne(t *testing.T) {
	t.Parallel()
	s := sshtest.Start(t, sshtest.Config{Setup: []string{"mkdir -p /etc/wireguard", "mount -t tmpfs keys /etc/wireguard"}})
	f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": s})
	f.must("gen", "-q", "alpha")
	for _, hosts := range []string{"alpha beta", "--all", "'*'"} {
		code, out, said := f.run(append([]string{"push"}, strings.Fields(strings.Trim(hosts, "'"))...)...)
		if code != ui.ExitSome || !strings.Contains(out, "alpha /etc/wireguard/wg0.key ") {
			t.Errorf("%s exits %d:\n%s%s", hosts, code, out, said)
		}
		for _, want := range []string{"beta: failed\n", `nothing to push to host "beta": `, "hint: wgkeys gen beta\n",
			"hint: once that is fixed: wgkeys push beta\n"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s: no %q in\n%s", hosts, want, said)
			}
		}
	}
	if code, _, said := f.run("push", "beta"); code != ui.ExitFailed || !strings.Contains(said, `nothing to push to host "beta": `) {
		t.Errorf("alone: exits %d: %s", code, said)
	}
}

// TestRetrySaysNothingElse: a flag that was given as false is not true in the command for the
// rest.
func TestRetrySaysNothingElse(t *testing.T) {
	t.Parallel()
	f := newFleet(t, twoHosts, nil)
	f.must("gen", "-q", "alpha", "beta")
	_, _, said := f.run("install", "--up=false", "-y=false", "-j=3", "alpha", "beta", "--stop-after", "1")
	if want := "hint: once that is fixed: wgkeys install --jobs 3 --stop-after 1 alpha beta\n"; !strings.Contains(said, want) {
		t.Errorf("no %q in\n%s", want, said)
	}
}
