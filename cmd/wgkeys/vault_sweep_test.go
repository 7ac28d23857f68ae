//go:build amd64

package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/check"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/vault"
)

// A vaultSweep is a repository, and a command that writes to its vault: each run
// begins with a copy of the repository, and has something go wrong at another of
// the command's writes.
type vaultSweep struct {
	*testing.T
	dir, alice string
	all        bool                             // takes every case, not a sample
	before     func(work string)                // makes the repository what the command meets; may be nil
	command    func(work string) []string       // of which another run finishes what one has begun
	allows     func(string, check.Finding) bool // what check may find half way
	done       func(string) error               // that the command has done its work; may be nil
	bob        string                           // another identity; may be none
	keeper     string                           // a host that keeps its private key to itself
	seed       uint64                           // which cases are in the sample
	cases      map[string]int                   // by fault
	ends       struct{ told, all, dead int }    // how the runs ended: with an error, well all the same, killed
}

// A vaultCase is what goes wrong where.
type vaultCase struct{ fault, point string }

// newVaultSweep makes the repository, and takes every case, or the same few each time.
func newVaultSweep(t *testing.T, all bool) *vaultSweep {
	t.Helper()
	for _, program := range []string{"age", "age-keygen", "wg"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is required in CI", program)
			}
			t.Skipf("no %s here", program)
		}
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir()) // no identity by default
	dir := t.TempDir()
	s := &vaultSweep{T: t, all: all, dir: dir, alice: filepath.Join(dir, "alice.txt"), cases: map[string]int{}}
	s.must("age-keygen", "-o", s.alice)
	s.must("wgkeys", "init", "-q", "--classic", "-i", s.alice, s.base())
	return s
}

func (s *vaultSweep) base() string { return filepath.Join(s.dir, "net") }

func (s *vaultSweep) must(name string, args ...string) string {
	s.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		s.Fatalf("%s %q: %v%s", name, args, err, said(err))
	}
	return string(out)
}

func said(err error) string {
	if exit, ok := err.(*exec.ExitError); ok {
		return "\n" + string(exit.Stderr)
	}
	return ""
}

func (s *vaultSweep) write(path, text string) {
	s.Helper()
	path = filepath.Join(s.base(), path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.Fatal(err)
	}
}

// sweep takes the cases, and tells how many there were.
func (s *vaultSweep) sweep() {
	s.Helper()
	all := casesOf(s.points())
	sample := all
	if !s.all { // the same ones each time
		sample = nil
		for _, n := range rand.New(rand.NewPCG(s.seed, 0)).Perm(len(all))[:min(8, len(all))] {
			sample = append(sample, all[n])
		}
	}
	for _, c := range sample {
		s.cases[c.fault]++
		s.try(c)
	}
	s.Logf("%d of %d cases, %v: %d told an error, %d were done all the same, %d were killed", len(sample), len(all), s.cases, s.ends.told, s.ends.all, s.ends.dead)
}

// points are the writes of the command where nothing goes wrong.
func (s *vaultSweep) points() []string {
	s.Helper()
	_, _, trace := s.run(s.fresh(), vaultCase{"none", "-"})
	points := strings.Split(trace, "\n")
	if len(points) < 4 {
		s.Fatalf("the command writes only %q", points)
	}
	return points
}

// casesOf is what can go wrong at points: the process killed before and after, and
// in the middle of a write; and each error that a disk gives.
func casesOf(points []string) []vaultCase {
	var all []vaultCase
	for _, p := range points {
		faults := []string{"before", "after", "ENOSPC", "EIO", "EROFS"}
		if strings.HasPrefix(p, "write ") {
			faults = append(faults, "torn")
		}
		for _, f := range faults {
			all = append(all, vaultCase{f, p})
		}
	}
	return all
}

func (s *vaultSweep) fresh() (work string) {
	s.Helper()
	work = filepath.Join(s.dir, "work")
	os.RemoveAll(work)
	s.must("cp", "-a", s.base(), work)
	if s.before != nil {
		s.before(work)
	}
	return work
}

// run runs the command, and has one case go wrong.
func (s *vaultSweep) run(work string, c vaultCase) (code int, out, trace string) {
	s.Helper()
	path := filepath.Join(s.dir, "trace")
	os.Remove(path)
	cmd := exec.Command("hit", append([]string{work, path, c.fault, c.point}, s.command(work)...)...)
	text, err := cmd.CombinedOutput()
	code = cmd.ProcessState.ExitCode()
	told, readErr := os.ReadFile(path)
	if readErr != nil {
		s.Fatalf("%s at %s: %v, %v\n%s", c.fault, c.point, err, readErr, text)
	}
	return code, string(text), string(told)
}

// try has one case go wrong: no secret is lost, check tells what is left to do,
// and the same command does it.
func (s *vaultSweep) try(c vaultCase) {
	s.Helper()
	where := c.fault + " at " + c.point
	work := s.fresh()
	keys := s.keys(work)
	code, out, trace := s.run(work, c)
	if !slices.Contains(strings.Split(trace, "\n"), "HIT") {
		s.Errorf("%s: it was not come to\n%s%s", where, out, trace)
		return
	}
	switch killed := slices.Contains([]string{"before", "after", "torn"}, c.fault); {
	case killed && code == 128+9:
		s.ends.dead++
	case !killed && code == ui.ExitDone:
		s.ends.all++
	case !killed && (code == ui.ExitFailed || code == ui.ExitSome) && strings.Contains(out, "wgkeys: error: "):
		s.ends.told++
	default:
		s.Errorf("%s: exit %d\n%s", where, code, out)
	}
	s.open(where, work)
	s.kept(where, keys, s.keys(work))
	for _, f := range s.findings(work) {
		if !s.allows(work, f) {
			s.Errorf("%s: check finds %+v", where, f)
		}
	}
	keys = s.keys(work)
	again := s.command(work)
	if out, err := exec.Command(again[0], again[1:]...).CombinedOutput(); err != nil {
		s.Errorf("%s: the same command again: %v\n%s", where, err, out)
	}
	s.open(where+", again", work)
	s.kept(where+", again", keys, s.keys(work))
	for _, f := range s.findings(work) {
		s.Errorf("%s, again: check finds %+v", where, f)
	}
	for _, path := range s.left(work) {
		s.Errorf("%s, again: %s is left", where, path)
	}
	if s.done != nil {
		if err := s.done(work); err != nil {
			s.Errorf("%s, again: %v", where, err)
		}
	}
}

// identities are those of which one has to open each file, as flags.
func (s *vaultSweep) identities() []string {
	if s.bob == "" {
		return []string{"-i", s.alice}
	}
	return []string{"-i", s.alice, "-i", s.bob}
}

// findings are what check finds with every file opened.
func (s *vaultSweep) findings(work string) []check.Finding {
	s.Helper()
	if _, err := os.Stat(filepath.Join(work, repo.Marker)); err != nil {
		return nil // no repository yet
	}
	cmd := exec.Command("wgkeys", append([]string{"check", "--json", "-C", work}, s.identities()...)...)
	out, err := cmd.Output()
	var found []check.Finding
	code := cmd.ProcessState.ExitCode()
	if jsonErr := json.Unmarshal(out, &found); jsonErr != nil || code != ui.ExitDone && code != ui.ExitFindings || code == ui.ExitDone != (len(found) == 0) {
		s.Fatalf("check: %v, %v%s", err, jsonErr, said(err))
	}
	return slices.DeleteFunc(found, func(f check.Finding) bool { // that it has none in the vault
		return s.keeper != "" && f.Check == "key" && f.File == "keyring/"+s.keeper+"/wg0.pub"
	})
}

// left are temporary files.
func (s *vaultSweep) left(work string) (left []string) {
	s.Helper()
	err := filepath.WalkDir(work, func(path string, _ fs.DirEntry, err error) error {
		if name := filepath.Base(path); strings.HasPrefix(name, ".") && name != ".gitattributes" {
			left = append(left, path)
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return left
}

// keys are the public keys that anybody could have taken up by now, with their
// hosts: those of the keyring, and those that the vault says it has private keys
// of. A key that a rotation is replacing is left out: its hosts have the next one.
func (s *vaultSweep) keys(work string) map[string]string {
	s.Helper()
	keys := map[string]string{}
	for _, path := range glob(s.T, work, "keyring/*/*.pub") {
		text, err := os.ReadFile(path)
		if err != nil {
			s.Fatal(err)
		}
		if host := hostOf(path); !replaced(path) && host != s.keeper {
			keys[strings.TrimSpace(string(text))] = host
		}
	}
	v := vault.Vault{Dir: filepath.Join(work, "vault")}
	for _, path := range glob(s.T, work, "vault/*/*.age") {
		m, err := v.Meta(hostOf(path), strings.TrimSuffix(filepath.Base(path), ".age"))
		if err != nil {
			s.Error(err)
		}
		public := filepath.Join(work, "keyring", hostOf(path), strings.TrimSuffix(filepath.Base(path), ".key.age")+".pub")
		if err == nil && m.PSK == "" && !replaced(public) && hostOf(path) != s.keeper {
			keys[m.PublicKey.String()] = m.Host
		}
	}
	return keys
}

func hostOf(path string) string { return filepath.Base(filepath.Dir(path)) }

// replaced reports whether a rotation is over on the hosts, so that nobody uses
// the key in path any more.
func replaced(path string) bool {
	_, err := os.Stat(strings.TrimSuffix(path, ".pub") + ".next.pub")
	return err == nil
}

// kept fails where a key is gone that was in use.
func (s *vaultSweep) kept(where string, before, after map[string]string) {
	s.Helper()
	for key, host := range before {
		if after[key] != host {
			s.Errorf("%s: the key %s of %s is lost", where, key, host)
		}
	}
}

// open opens every vault file with stock age. A public key of the keyring has its
// private key in the vault, as wg(8) has it.
func (s *vaultSweep) open(where, work string) {
	s.Helper()
	opened, psks := map[string]bool{}, map[string]string{}
	for _, path := range glob(s.T, work, "vault/*/*.age") {
		text, err := exec.Command("age", append(s.identities(), "-d", path)...).Output()
		if err != nil {
			s.Errorf("%s: %s does not open: %v%s", where, path, err, said(err))
			continue
		}
		if strings.HasSuffix(path, ".psk.age") {
			host, peer := hostOf(path), strings.Split(filepath.Base(path), ".")[1]
			if other, ok := psks[peer+" "+host]; ok && other != string(text) {
				s.Errorf("%s: %s is not the key that %s has", where, path, peer)
			}
			psks[host+" "+peer] = string(text)
			continue
		}
		c := exec.Command("wg", "pubkey")
		c.Stdin = strings.NewReader(string(text))
		public, err := c.Output()
		if err != nil {
			s.Errorf("%s: %s: wg pubkey: %v", where, path, err)
		}
		opened[strings.TrimSpace(string(public))] = true
	}
	for _, path := range glob(s.T, work, "keyring/*/*.pub") {
		if hostOf(path) == s.keeper || replaced(path) {
			continue
		}
		if text, err := os.ReadFile(path); err != nil || !opened[strings.TrimSpace(string(text))] {
			s.Errorf("%s: the private key of %s is lost (%v)", where, path, err)
		}
	}
}

// missing allows what says of a file that it is not there yet.
func missing(work string, f check.Finding) bool {
	_, err := os.Lstat(filepath.Join(work, f.File))
	return f.File != "" && os.IsNotExist(err)
}

// opens fails where not each identity opens all seven files, or none of them, as it
// is to.
func (s *vaultSweep) opens(work string, want map[string]bool) error {
	paths := glob(s.T, work, "vault/*/*.age")
	if len(paths) != 7 {
		return fmt.Errorf("there are %q", paths)
	}
	for identity, does := range want {
		for _, path := range paths {
			if out, err := exec.Command("age", "-d", "-o", "/dev/null", "-i", identity, path).CombinedOutput(); (err == nil) != does {
				return fmt.Errorf("%s opens %s: %v, want %v\n%s", identity, path, err == nil, does, out)
			}
		}
	}
	return nil
}

// midRotation has shale change its key: as the repository is when the hosts have
// done so.
func (s *vaultSweep) midRotation() (next string) {
	s.Helper()
	s.write("tunnels/wg0.toml", "[hosts.basalt]\nendpoint = \"192.0.2.1\"\n[hosts.shale]\naddresses = [\"10.0.0.2/32\"]\n")
	s.must("wgkeys", "gen", "-q", "-C", s.base(), "basalt", "shale")
	r, err := repo.Find(s.base())
	if err != nil {
		s.Fatal(err)
	}
	defer r.Root.Close()
	k, err := keyring.GeneratePrivateKey()
	name := keyring.Next("wg0")
	if err == nil {
		err = r.Vault.SealKey("shale", vault.KeyFile(name), k, time.Now())
	}
	if err == nil {
		err = r.Ring.Put("shale", name, k.PublicKey())
	}
	if err != nil {
		s.Fatal(err)
	}
	return k.PublicKey().String()
}
