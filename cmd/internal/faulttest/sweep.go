//go:build amd64

package faulttest

import (
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
	laboratory "wgkeys/deploy/lab/labtest"
	"wgkeys/keyring"
	"wgkeys/vault"
)

// A Sweep is a repository, and a command that writes to its vault: each run
// begins with a copy of the repository, and has something go wrong at another of
// the command's writes.
type Sweep struct {
	*testing.T
	Dir, Alice string
	all        bool                             // takes every case, not a sample
	Before     func(work string)                // makes the repository what the command meets; may be nil
	Command    func(work string) []string       // of which another run finishes what one has begun
	Allows     func(string, check.Finding) bool // what check may find half way
	Done       func(string) error               // that the command has done its work; may be nil
	Bob        string                           // another identity; may be none
	Keeper     string                           // a host that keeps its private key to itself
	Seed       uint64                           // chooses which cases are in the sample
	cases      map[string]int                   // by fault
	ends       map[string]int                   // how the runs ended
}

// A Case is what goes wrong where.
type Case struct{ Fault, Point string }

func (c Case) String() string { return c.Fault + " at " + c.Point }

// End tells how a run ended, of those that may be; "": otherwise. With an error it ends
// with one of the exit codes that are given.
func (c Case) End(code int, out string, failed ...int) string {
	killed := slices.Contains([]string{"before", "after", "torn"}, c.Fault)
	switch {
	case killed && code == 128+9:
		return "killed"
	case !killed && code == ui.ExitDone:
		return "done all the same"
	case !killed && slices.Contains(failed, code) && strings.Contains(out, "wgkeys: error: "):
		return "told an error"
	}
	return ""
}

// NewSweep makes the repository, and takes every case, or the same few each time.
func NewSweep(t *testing.T, all bool) *Sweep {
	t.Helper()
	laboratory.Programs(t, "age", "age-keygen", "wg")
	t.Setenv("XDG_CONFIG_HOME", t.TempDir()) // no identity by default
	dir := t.TempDir()
	s := &Sweep{T: t, all: all, Dir: dir, Alice: filepath.Join(dir, "alice.txt"), cases: map[string]int{},
		ends: map[string]int{}}
	s.Must("age-keygen", "-o", s.Alice)
	s.Must("wgkeys", "init", "-q", "--classic", "-i", s.Alice, s.Base())
	return s
}

// Base is the repository that each case gets a copy of.
func (s *Sweep) Base() string { return filepath.Join(s.Dir, "net") }

// Must runs a program that has to succeed and returns its output.
func (s *Sweep) Must(name string, args ...string) string {
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

// Write writes a file in the repository.
func (s *Sweep) Write(path, text string) {
	s.Helper()
	path = filepath.Join(s.Base(), path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.Fatal(err)
	}
}

// Sweep takes the cases, and tells how many there were.
func (s *Sweep) Sweep() {
	s.Helper()
	all := Cases(s.points())
	sample := all
	if !s.all { // the same ones each time
		sample = nil
		for _, n := range rand.New(rand.NewPCG(s.Seed, 0)).Perm(len(all))[:min(8, len(all))] {
			sample = append(sample, all[n])
		}
	}
	for _, c := range sample {
		s.cases[c.Fault]++
		s.try(c)
	}
	s.Logf("%d of %d cases, %v: %v", len(sample), len(all), s.cases, s.ends)
}

// points are the writes of the command where nothing goes wrong.
func (s *Sweep) points() []string {
	s.Helper()
	_, _, trace := s.run(s.fresh(), Case{"none", "-"})
	points := strings.Split(trace, "\n")
	if len(points) < 4 {
		s.Fatalf("the command writes only %q", points)
	}
	return points
}

// Cases is what can go wrong at points: the process killed before and after, and
// in the middle of a write; and each error that a disk gives.
func Cases(points []string) []Case {
	var all []Case
	for _, p := range points {
		faults := []string{"before", "after", "ENOSPC", "EIO", "EROFS"}
		if strings.HasPrefix(p, "write ") {
			faults = append(faults, "torn")
		}
		for _, f := range faults {
			all = append(all, Case{f, p})
		}
	}
	return all
}

func (s *Sweep) fresh() (work string) {
	s.Helper()
	work = filepath.Join(s.Dir, "work")
	os.RemoveAll(work)
	s.Must("cp", "-a", s.Base(), work)
	if s.Before != nil {
		s.Before(work)
	}
	return work
}

// run runs the command, and has one case go wrong.
func (s *Sweep) run(work string, c Case) (code int, out, trace string) {
	s.Helper()
	path := filepath.Join(s.Dir, "trace")
	os.Remove(path)
	cmd := exec.Command("hit", append([]string{work, path, c.Fault, c.Point}, s.Command(work)...)...)
	text, err := cmd.CombinedOutput()
	code = cmd.ProcessState.ExitCode()
	result, readErr := os.ReadFile(path)
	if readErr != nil {
		s.Fatalf("%s at %s: %v, %v\n%s", c.Fault, c.Point, err, readErr, text)
	}
	return code, string(text), string(result)
}

// try has one case go wrong: no secret is lost, check tells what is left to do,
// and the same command does it.
func (s *Sweep) try(c Case) {
	s.Helper()
	where := c.String()
	work := s.fresh()
	keys := s.keys(work)
	code, out, trace := s.run(work, c)
	if !slices.Contains(strings.Split(trace, "\n"), "HIT") {
		s.Errorf("%s: it was not come to\n%s%s", where, out, trace)
		return
	}
	if end := c.End(code, out, ui.ExitFailed, ui.ExitSome); end != "" {
		s.ends[end]++
	} else {
		s.Errorf("%s: exit %d\n%s", where, code, out)
	}
	s.open(where, work)
	s.kept(where, keys, s.keys(work))
	for _, f := range s.findings(work) {
		if !s.Allows(work, f) {
			s.Errorf("%s: check finds %+v", where, f)
		}
	}
	keys = s.keys(work)
	again := s.Command(work)
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
	if s.Done != nil {
		if err := s.Done(work); err != nil {
			s.Errorf("%s, again: %v", where, err)
		}
	}
}

// MidRotation has shale change its key: as the repository is when the hosts have
// done so.
func (s *Sweep) MidRotation() (next string) {
	s.Helper()
	s.Write("tunnels/wg0.toml", "[hosts.basalt]\nendpoint = \"192.0.2.1\"\n[hosts.shale]\naddresses = [\"10.0.0.2/32\"]\n")
	s.Must("wgkeys", "gen", "-q", "-C", s.Base(), "basalt", "shale")
	r, err := repo.Find(s.Base())
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
