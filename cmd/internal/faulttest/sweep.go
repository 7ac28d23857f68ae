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

// A Sweep tests a command that writes to the vault of a repository. Each run starts with a
// copy of the repository, and something goes wrong at another of the command's writes.
type Sweep struct {
	*testing.T
	Dir, Alice string
	all        bool                             // every case, not a sample
	Before     func(work string)                // prepares the copy for the command; may be nil
	Command    func(work string) []string       // a second run of it has to finish what the first began
	Allows     func(string, check.Finding) bool // what check may find after a failure
	Done       func(string) error               // checks what the command did; may be nil
	Bob        string                           // another identity, or ""
	Keeper     string                           // a host whose private key is not in the vault, or ""
	Seed       uint64                           // of the choice of the sample
	cases      map[string]int                   // number of cases by fault
	ends       map[string]int                   // number of runs by their end
}

// A Case is a fault and the point at which it happens.
type Case struct{ Fault, Point string }

func (c Case) String() string { return c.Fault + " at " + c.Point }

// End describes how a run ended, or returns "" if it must not end so. A run that reports an
// error has to exit with one of the codes in failed.
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

// NewSweep makes a repository. With all the sweep tries every case, otherwise the same few
// each time.
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

// Base returns the repository that is copied for each case.
func (s *Sweep) Base() string { return filepath.Join(s.Dir, "net") }

// Must runs a program and returns its output. It fails the test if the program fails.
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

// Sweep tries the cases, and logs how many there were.
func (s *Sweep) Sweep() {
	s.Helper()
	all := Cases(s.points())
	sample := all
	if !s.all { // the same cases each time
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

// points returns the writes of the command when nothing goes wrong.
func (s *Sweep) points() []string {
	s.Helper()
	_, _, trace := s.run(s.fresh(), Case{"none", "-"})
	points := strings.Split(trace, "\n")
	if len(points) < 4 {
		s.Fatalf("the command writes only %q", points)
	}
	return points
}

// Cases returns what can go wrong at the points: the process is killed before, after, or in
// the middle of a write, or the disk returns an error.
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

// run runs the command with a fault.
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

// try tries one case: no key may be lost, check must say what is left to do, and the same
// command must finish it.
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

// MidRotation leaves the repository in the state in which the hosts have finished a
// rotation of shale's key.
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
