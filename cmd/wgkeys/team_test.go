package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	laboratory "wgkeys/deploy/lab/labtest"
	"wgkeys/keyring"
	"wgkeys/vault"
)

// An admin has a clone of the repository and works in it.
type admin struct {
	*testing.T
	dir, name string
	random    *rand.Rand
	made      []string // hosts
	next      int
}

func (a *admin) git(args ...string) string {
	a.Helper()
	c := exec.Command("git", append([]string{"-C", a.dir}, args...)...)
	c.Env = append(os.Environ(), "GIT_AUTHOR_NAME="+a.name, "GIT_AUTHOR_EMAIL="+a.name+"@example.net",
		"GIT_COMMITTER_NAME="+a.name, "GIT_COMMITTER_EMAIL="+a.name+"@example.net")
	out, err := c.CombinedOutput()
	if err != nil {
		a.Fatalf("%s: git %s: %v\n%s", a.name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// wgkeys runs the program in a process of its own, as it locks the checkout until
// it ends.
func (a *admin) wgkeys(args ...string) {
	a.Helper()
	c := exec.Command("wgkeys", append(args, "-C", a.dir)...)
	c.Env = append(os.Environ(), "GIT_AUTHOR_NAME="+a.name, "GIT_AUTHOR_EMAIL="+a.name+"@example.net",
		"GIT_COMMITTER_NAME="+a.name, "GIT_COMMITTER_EMAIL="+a.name+"@example.net")
	if out, err := c.CombinedOutput(); err != nil {
		a.Fatalf("%s: wgkeys %s: %v\n%s", a.name, strings.Join(args, " "), err, out)
	}
}

func (a *admin) write(name, text string) {
	a.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		a.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		a.Fatal(err)
	}
}

// join writes a drop-in of the tunnel for a new host: a file of its own.
func (a *admin) join() string {
	host := fmt.Sprintf("%s-%d", a.name, a.next)
	a.next++
	third := 1
	if a.name == "bob" {
		third = 2
	}
	a.write("tunnels/wg0.d/"+host+".toml", fmt.Sprintf("[hosts.%s]\naddresses = [\"10.0.%d.%d/32\"]\n", host, third,
		a.next))
	a.git("add", "tunnels/wg0.d")
	a.git("commit", "-q", "-m", "tunnel: "+host+" joins")
	a.made = append(a.made, host)
	return host
}

// work does one operation on a host of the admin's own.
func (a *admin) work() {
	a.Helper()
	if len(a.made) == 0 {
		a.wgkeys("gen", "-q", "--commit", a.join())
		return
	}
	host := a.made[a.random.IntN(len(a.made))]
	switch a.random.IntN(5) {
	case 0, 1: // a key pair, and the preshared key with the hub
		a.wgkeys("gen", "-q", "--commit", a.join())
	case 2: // the preshared key again
		a.git("rm", "-q", "vault/"+host+"/wg0.hub.psk.age", "vault/hub/wg0."+host+".psk.age")
		a.git("commit", "-q", "-m", "psk of "+host)
		a.wgkeys("gen", "-q", "--commit", host)
	case 3: // another key: the end of a rotation, as far as the repository goes
		a.rotate(host)
	case 4: // a recipient of this host's alone
		id := filepath.Join(a.TempDir(), "identity.txt")
		recipient, err := vault.NewIdentity(id, false, time.Unix(0, 0))
		if err != nil {
			a.Fatal(err)
		}
		a.write("vault/"+host+"/recipients.txt", "# "+host+"\n"+recipient+"\n")
		a.git("add", "vault/"+host+"/recipients.txt")
		a.git("commit", "-q", "--allow-empty", "-m", "recipients of "+host)
	}
}

func (a *admin) rotate(host string) {
	a.Helper()
	r, err := repo.Find(a.dir)
	if err != nil {
		a.Fatal(err)
	}
	defer r.Root.Close()
	next := keyring.Next("wg0")
	k, err := keyring.GeneratePrivateKey()
	if err == nil {
		err = r.Vault.SealKey(host, vault.KeyFile(next), k, time.Now())
	}
	if err == nil {
		err = r.Ring.Put(host, next, k.PublicKey())
	}
	if err == nil {
		err = r.Promote(host, "wg0", testOnlyStep)
	}
	if err != nil {
		a.Fatal(err)
	}
	a.git("add", "-A", "vault/"+host, "keyring/"+host)
	a.git("commit", "-q", "-m", "rotate "+host)
}

// twoAdmins are alice and bob, each with a clone of base/bare.
func twoAdmins(t *testing.T, base string) []*admin {
	t.Helper()
	start := &admin{T: t, dir: filepath.Join(base, "alice"), name: "alice", random: rand.New(rand.NewPCG(1, 0))}
	start.wgkeys("init", "-q", "--classic")
	start.write("tunnels/wg0.toml",
		"psk = true\n[hosts.hub]\nendpoint = \"192.0.2.1\"\n[hosts.rim]\naddresses = [\"10.0.0.2/32\"]\n")
	start.git("init", "-q", "-b", "main")
	start.wgkeys("gen", "-q", "--commit", "hub", "rim")
	start.git("add", "-A")
	start.git("commit", "-q", "-m", "start")
	start.git("clone", "-q", "--bare", ".", filepath.Join(base, "bare"))
	start.git("remote", "add", "origin", filepath.Join(base, "bare"))
	start.git("fetch", "-q", "origin")
	start.git("branch", "-q", "-u", "origin/main")
	start.git("clone", "-q", filepath.Join(base, "bare"), filepath.Join(base, "bob"))
	return []*admin{start, {T: t, dir: filepath.Join(base, "bob"), name: "bob", random: rand.New(rand.NewPCG(2, 0))}}
}

func (a *admin) pull() { a.git("pull", "-q", "--no-rebase", "--no-edit") }

// TestTwoAdmins: two admins do 60 operations in two clones, with -long team 200, and merge
// through a bare repository again and again. No merge has a conflict, nothing is lost, and
// every file opens and belongs to its host. Both working on one host is the one
// conflict there is.
func TestTwoAdmins(t *testing.T) {
	laboratory.Programs(t, "git")
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	admins := twoAdmins(t, t.TempDir())
	operations := 60
	if long("team") {
		operations = 200
	}
	merges := 0
	for done := 0; done < operations; {
		for range 10 { // each does some, not knowing of the other's
			for _, a := range admins {
				a.work()
				done++
			}
		}
		for _, a := range slices.Concat(admins, admins[:1]) {
			a.pull()
			a.git("push", "-q", "origin", "HEAD:main")
			merges++
		}
	}
	hosts := slices.Concat(admins[0].made, admins[1].made)
	for _, a := range admins {
		a.pull()
		a.sound(filepath.Join(home, ".config/wgkeys/identity.txt"))
		a.complete(hosts)
	}
	t.Logf("%d operations, %d merges without a conflict, %d hosts", operations, merges, len(hosts))
	bothAtOnce(t, admins[0].made[0], admins)
}

// sound fails if check finds anything, but for a host's own list that is newer than the
// files that it is for: that is what rekey is for.
func (a *admin) sound(identity string) {
	a.Helper()
	var said strings.Builder
	err := run(func(*ui.UI, string) context.Context { return a.Context() }, &ui.UI{Stdout: &said, Stderr: os.Stderr},
		[]string{"wgkeys", "check", "-C", a.dir, "-i", identity})
	for line := range strings.Lines(said.String()) {
		if !strings.HasPrefix(line, "  hint: ") && !strings.Contains(line, " is not encrypted to ") &&
			!strings.Contains(line, " is no longer listed ") {
			a.Errorf("%s: %s", a.name, line)
		}
	}
	if err != nil && said.Len() == 0 {
		a.Error(err)
	}
}

// complete fails if a host lacks a key.
func (a *admin) complete(hosts []string) {
	a.Helper()
	for _, host := range hosts {
		for _, file := range []string{"keyring/" + host + "/wg0.pub", "vault/" + host + "/wg0.key.age", "vault/" + host +
			"/wg0.hub.psk.age"} {
			if _, err := os.Stat(filepath.Join(a.dir, file)); err != nil {
				a.Error(err)
			}
		}
	}
}

// bothAtOnce has both admins rotate one host, which is a conflict in its two files.
func bothAtOnce(t *testing.T, host string, admins []*admin) {
	t.Helper()
	for _, a := range admins {
		a.rotate(host)
	}
	admins[0].git("push", "-q", "origin", "HEAD:main")
	c := exec.Command("git", "-C", admins[1].dir, "-c", "user.name=bob", "-c", "user.email=bob@example.net", "pull", "-q",
		"--no-rebase", "--no-edit")
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "CONFLICT") {
		t.Errorf("two keys for one host were merged: %v\n%s", err, out)
	}
	conflicts := strings.Fields(admins[1].git("diff", "--name-only", "--diff-filter=U"))
	if want := []string{"keyring/" + host + "/wg0.pub", "vault/" + host + "/wg0.key.age"}; !slices.Equal(conflicts, want) {
		t.Errorf("conflicts in %q, want %q", conflicts, want)
	}
}
