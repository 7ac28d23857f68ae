package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// Users of a machine, by their numbers: none of them has a line in /etc/passwd.
const (
	alice = 7001
	bob   = 7002

	admins = 7100 // the group of both
)

// accounts are several users of this machine, each with a home, and root.
type accounts struct {
	*testing.T
	dir string
}

func newAccounts(t *testing.T) *accounts {
	t.Helper()
	labtest.Require(t, "git") // and root, who alone can be several users
	m := &accounts{t, t.TempDir()}
	for _, dir := range []string{filepath.Dir(m.dir), m.dir} { // it is root's alone
		m.must(os.Chmod(dir, 0o755))
	}
	for _, uid := range []int{0, alice, bob} {
		m.must(os.Mkdir(m.home(uid), 0o700))
		m.must(os.WriteFile(filepath.Join(m.home(uid), ".gitconfig"),
			[]byte("[user]\nname = admin\nemail = admin@example.net\n[init]\ndefaultBranch = main\n"), 0o600))
		m.chown(m.home(uid), uid)
	}
	self, err := os.Executable()
	m.must(err)
	m.must(os.Mkdir(filepath.Join(m.dir, "bin"), 0o755))
	if os.Link(self, m.program()) != nil {
		m.copy(self, m.program())
	}
	return m
}

func (m *accounts) program() string       { return filepath.Join(m.dir, "bin", "wgkeys") }
func (m *accounts) home(uid int) string   { return filepath.Join(m.dir, "home-"+nameOfUID(uid)) }
func (m *accounts) at(name string) string { return filepath.Join(m.dir, name) }

func nameOfUID(uid int) string { return map[int]string{0: "root", alice: "alice", bob: "bob"}[uid] }

func (m *accounts) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (m *accounts) copy(from, to string) {
	m.Helper()
	in, err := os.Open(from)
	m.must(err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	m.must(err)
	_, err = io.Copy(out, in)
	m.must(errors.Join(err, out.Close()))
}

func (m *accounts) chown(dir string, uid int) {
	m.Helper()
	m.must(filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	}))
}

// run has a user run a line of sh in a folder; extra are variables, as sudo sets them.
func (m *accounts) run(uid int, dir, line string, extra ...string) (said string, code int) {
	m.Helper()
	c := exec.Command("sh", "-c", line)
	c.Dir = dir
	c.Env = append([]string{"HOME=" + m.home(uid), "GIT_CONFIG_NOSYSTEM=1", "PATH=" + filepath.Join(m.dir, "bin") +
		":/usr/local/bin:/usr/bin:/bin"}, extra...)
	if uid != 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid),
			Groups: []uint32{admins}}}
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), exit.ExitCode()
	}
	m.must(err)
	return out.String(), 0
}

// do is run of what must succeed.
func (m *accounts) do(uid int, dir, line string, extra ...string) string {
	m.Helper()
	said, code := m.run(uid, dir, line, extra...)
	if code != 0 {
		m.Fatalf("%s: %s: exit code %d\n%s", nameOfUID(uid), line, code, said)
	}
	return said
}

const ownedTunnel = "[hosts.alpha]\nendpoint = \"192.0.2.1\"\naddresses = [\"10.7.0.1/32\"]\n[hosts.beta]\naddresses = [\"10.7.0.2/32\"]\n"

// net makes a repository of a user's with two hosts, committed.
func (m *accounts) net(uid int) string {
	m.Helper()
	dir := m.at("net")
	m.must(os.Mkdir(dir, 0o755))
	m.chown(dir, uid)
	m.do(uid, dir, "wgkeys init -q --classic . && git init -q")
	m.must(os.WriteFile(filepath.Join(dir, "tunnels/wg0.toml"), []byte(ownedTunnel), 0o644))
	m.chown(dir, uid)
	m.do(uid, dir, "wgkeys gen -q alpha beta && git add -A && git commit -qm one")
	return dir
}

// TestNotMyCheckout: where git refuses to answer since the repository is another
// user's, no host gets a second key and check does not say that all is well. Root hears
// what the owner would, as the owner, and no program that he chose runs as root.
func TestNotMyCheckout(t *testing.T) {
	m := newAccounts(t)
	m.net(alice)
	m.must(os.Mkdir(m.at("c"), 0o755))
	m.chown(m.at("c"), alice)
	c := m.at("c")
	m.do(alice, m.dir, "git clone -q net c && cd c && git sparse-checkout set --no-cone '/*' '!/vault/beta' '!/keyring/beta' && test ! -e keyring/beta")
	// What git runs to ask what has changed; it would say who ran it.
	m.must(os.WriteFile(m.at("spy"), []byte("#!/bin/sh\nid -u >>"+m.at("ran")+"\n"), 0o755))
	m.must(os.WriteFile(m.at("ran"), nil, 0o666))
	m.must(os.Chmod(m.at("ran"), 0o666))
	m.do(alice, c, "git config user.name Alice; git config user.email alice@example.net; git config core.fsmonitor "+m.at("spy"))
	owners, code := m.run(alice, c, "wgkeys check")
	if code != ui.ExitFindings || !strings.Contains(owners, "not checked out:") {
		t.Fatalf("the owner hears, with %d:\n%s", code, owners)
	}
	m.rootHears(c, owners, "X=") // su
	m.rootHears(c, owners, "SUDO_UID=7001")
	if ran, err := os.ReadFile(m.at("ran")); err != nil || len(ran) > 0 {
		t.Errorf("the repository's fsmonitor was run, by users %q (%v)", ran, err)
	}
	m.bobHears(c, owners)
	if _, err := os.Stat(filepath.Join(c, "keyring/beta")); err == nil {
		t.Error("beta has another key")
	}
}

// TestCheckoutBelowClosedFolder: root runs git as whose checkout it is, who may not enter a
// folder above. It is said, and the hint leads to the folder.
func TestCheckoutBelowClosedFolder(t *testing.T) {
	m := newAccounts(t)
	m.must(os.Mkdir(m.at("closed"), 0o700))
	m.must(os.Rename(m.net(alice), m.at("closed/net")))
	said, code := m.run(0, m.at("closed/net"), "wgkeys gen --commit beta")
	if code != ui.ExitFailed || !strings.Contains(said, "git cannot enter") ||
		!strings.Contains(said, "run as user 7001") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	_, hint, _ := strings.Cut(said, "hint: ")
	command, _, _ := strings.Cut(hint, " shows which")
	if shown := m.do(0, m.dir, command); !strings.Contains(shown, "closed") {
		t.Errorf("%s:\n%s", command, shown)
	}
}

// rootHears fails if root, with a variable of the environment, hears something else of a
// checkout of alice's than she does.
func (m *accounts) rootHears(c, owners, sudo string) {
	m.Helper()
	if said, code := m.run(0, c, "wgkeys check", sudo); code != ui.ExitFindings || said != owners {
		m.Errorf("%s: root hears, with %d:\n%swant\n%s", sudo, code, said, owners)
	}
	for _, verb := range []string{"gen beta", "gen --commit beta", "rekey beta", "rotate -y beta",
		"check --leaver alice"} {
		if said, code := m.run(0, c, "wgkeys "+verb, sudo); code != ui.ExitFailed ||
			!strings.Contains(said, "not checked out:") {
			m.Errorf("%s: root's wgkeys %s: %d\n%s", sudo, verb, code, said)
		}
	}
	if said, code := m.run(0, c, "wgkeys check --staged", sudo); code != 0 {
		m.Errorf("%s: check --staged: %d\n%s", sudo, code, said)
	}
}

// bobHears fails if a third user does not hear whose the checkout is, or, when he has
// said to git that he trusts it, something else than its owner.
func (m *accounts) bobHears(c, owners string) {
	m.Helper()
	for _, verb := range []string{"check", "check --staged", "check --leaver alice", "gen beta"} {
		said, code := m.run(bob, c, "wgkeys "+verb)
		if code == 0 || !strings.Contains(said, "it belongs to user 7001 and not to user 7002") ||
			strings.Contains(said, "usage:") {
			m.Errorf("bob's wgkeys %s: %d\n%s", verb, code, said)
		}
	}
	m.do(bob, c, "git config --global --add safe.directory "+c)
	if said, code := m.run(bob, c, "wgkeys check"); code != ui.ExitFindings || said != owners {
		m.Errorf("bob, who trusts alice, hears, with %d:\n%s", code, said)
	}
}

// TestSudoLocksNobodyOut: what root makes in the checkout of a user is his, and he can
// read it, commit it and encrypt it again.
func TestSudoLocksNobodyOut(t *testing.T) {
	m := newAccounts(t)
	net := m.net(alice)
	sudo := []string{"SUDO_UID=7001", "SUDO_GID=7001", "SUDO_USER=alice", "HOME=" + m.home(alice)}
	m.must(os.WriteFile(filepath.Join(net, "tunnels/wg0.toml"),
		[]byte("psk = true\n"+ownedTunnel+"[hosts.gamma]\naddresses = [\"10.7.0.3/32\"]\n"), 0o644))
	m.do(alice, net, "git commit -qam psk")
	m.do(0, net, "wgkeys gen -q --commit gamma alpha && wgkeys init -q --hook && wgkeys init -q --classic ../below", sudo...)
	m.do(0, net, "ssh-keygen -q -t ed25519 -N '' -f "+m.at("key")+" && cat "+m.at("key.pub")+
		" >>vault/recipients.txt && wgkeys rekey -q beta", sudo...)
	// Somebody's first identity is his, if root makes it in his home.
	m.do(0, net, "wgkeys init -q "+m.at("home-bob/other"), "HOME="+m.home(bob))
	for dir, uid := range map[string]int{net: alice, m.home(alice): alice, m.home(bob): bob} {
		if others := m.do(0, m.dir, fmt.Sprintf("find %s ! -uid %d", dir, uid)); others != "" {
			t.Errorf("not %s's:\n%s", nameOfUID(uid), others)
		}
	}
	m.do(alice, net, "test -z \"$(find . -type f ! -readable)\" && git log --format=%an%s | grep -q 'adminwgkeys gen: gamma, alpha'")
	m.do(alice, net, "git add -A . && git commit -qm all && wgkeys rekey -q && wgkeys check -q -i "+m.home(alice)+
		"/.config/wgkeys/identity.txt")
}

// TestGitInGerman: what git says in another language is understood as what it says in English.
func TestGitInGerman(t *testing.T) {
	m := newAccounts(t)
	labtest.Require(t, "locale-gen") // localedef alone has no languages (package libc-bin)
	locale := m.at("locale")
	m.must(os.Mkdir(locale, 0o755))
	m.do(0, m.dir, "localedef -i de_DE -f UTF-8 "+locale+"/de_DE.UTF-8 && chmod -R a+rX "+locale)
	net := m.net(alice)
	for _, all := range []string{"LANG", "LC_ALL"} {
		german := []string{"LOCPATH=" + locale, all + "=de_DE.UTF-8", "LANGUAGE=de"}
		if said, _ := m.run(bob, net, "git log", german...); !strings.Contains(said, "Besitzverh") {
			labtest.Missing(t, "git has no German here, as in images without /usr/share/locale: "+said)
		}
		if said, code := m.run(bob, net, "wgkeys check", german...); code != ui.ExitFindings ||
			!strings.Contains(said, "it belongs to user 7001 and not to user 7002") {
			t.Errorf("%s: bob's wgkeys check: %d\n%s", all, code, said)
		}
	}
}

// TestSharedCheckout: of two admins who share a checkout none locks the other out,
// neither by a folder that their group may write to, nor by git's word that it is shared.
func TestSharedCheckout(t *testing.T) {
	m := newAccounts(t)
	for _, way := range []string{"set-group-id", "group", "core.sharedRepository", "sudo"} {
		t.Run(way, func(t *testing.T) {
			m := &accounts{t, m.dir}
			dir := m.at(way)
			m.must(os.Mkdir(dir, 0o755))
			m.must(os.Chown(dir, alice, admins))
			m.do(alice, dir, map[string]string{"set-group-id": "chmod 2775 .", "group": "chmod 775 .", "sudo": "chmod 2775 .",
				"core.sharedRepository": "git init -q --shared && chmod g+ws ."}[way])
			m.do(alice, dir, "umask 022; git init -q; wgkeys init -q --classic . && wgkeys gen -q alpha beta")
			if way == "core.sharedRepository" { // of the folders he has thought himself, but for these
				m.do(alice, dir, "chmod g-w keyring vault; wgkeys gen -q delta")
			}
			for _, uid := range []int{0, bob} {
				m.do(uid, dir, "git config --global --add safe.directory '*'")
			}
			m.do(alice, dir, "printf '#!/bin/sh\\ntouch "+dir+
				"/ran\\n' >.git/hooks/pre-commit && chmod 755 .git/hooks/pre-commit")
			if said, code := m.run(bob, dir, "wgkeys gen --commit onyx"); code != ui.ExitFailed ||
				!strings.Contains(said, "is not your own: it belongs to user 7001") {
				t.Errorf("a hook of alice's: bob's commit: %d\n%s", code, said)
			}
			m.do(0, dir, "test ! -e ran && rm .git/hooks/pre-commit")
			second := bob
			if way == "sudo" {
				second = 0
			}
			m.do(0, m.dir, "cp "+m.home(alice)+
				"/.config/wgkeys/identity.txt id && chmod 644 id && ssh-keygen -q -t ed25519 -N '' -f key-"+way)
			m.do(alice, dir, "cat "+m.at("key-"+way)+".pub >>vault/recipients.txt")
			m.do(second, dir, "umask 022; wgkeys rekey -q -i "+m.at("id"))
			m.do(alice, dir, "wgkeys rekey -q; wgkeys check -i "+m.home(alice)+
				"/.config/wgkeys/identity.txt | grep -v 'no tunnel names\\|hint' | grep . && exit 1; true")
			if way != "core.sharedRepository" { // bob makes folders only where he may
				m.do(second, dir, "umask 022; wgkeys gen -q gamma")
				m.do(alice, dir, "cat vault/gamma/wg0.key.age && touch vault/gamma/x && rm vault/gamma/x keyring/gamma/wg0.pub")
			}
		})
	}
}
