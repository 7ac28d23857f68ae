package main

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	benchRow  = flag.String("row", "", "with -long bench, the rows with this expression in their names")
	benchRuns = flag.Int("bench-runs", 5, "with -long bench, how often each side of a row is run")
)

// A contest is wgkeys beside what a user would take otherwise, on the same work. The sides take
// turns, so that other work of the machine meets both; what a side needs before each of its
// runs is done by ready, and not measured.
type contest struct {
	name   string
	beside string
	bar    string // what the project wants of the ratio; "" where it wants nothing
	ready  func()
	ours   func() float64 // seconds or bytes
	theirs func() float64
	faster bool // the ratio is theirs : ours, how many times as fast
}

// prepare makes both sides start alike: with what ready makes, and none of it still to be
// written to the disk, which would be counted for the side that syncs.
func (c contest) prepare() {
	if c.ready != nil {
		c.ready()
		unix.Sync()
	}
}

// TestBench is `make bench`: a table of ratios, each the median of the runs, with the least and
// the most. It decides nothing; doc/measured/bench.md and the README record it.
func TestBench(t *testing.T) {
	if !long("bench") {
		t.Skip("make bench")
	}
	b := &bench{T: t, dir: t.TempDir()}
	b.wgkeys = filepath.Join(b.dir, "wgkeys")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", b.wgkeys, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wanted := regexp.MustCompile(*benchRow)
	for _, group := range []struct {
		names string // of its rows, for -row
		rows  func()
	}{
		{"start size", b.start}, {"gen", b.generate}, {"rekey", b.rekey}, {"check", b.check}, {"view", b.view},
		{"import", b.imports}, {"throughput", b.throughput}, {"apply plan no-op one peer cold", b.hub},
		{"push status apply 200 hosts", b.fleet}, {"growth", b.growth},
	} {
		if wanted.MatchString(group.names) {
			group.rows()
		}
	}
	t.Logf("%s\n\n| Work | compared with | ratio | smallest, largest | wanted |\n|---|---|---|---|---|\n%s", machineName(),
		b.table.String())
}

type bench struct {
	*testing.T
	dir    string
	wgkeys string
	table  strings.Builder
}

// row runs both sides and adds a line to the table.
func (b *bench) row(c contest) {
	b.Helper()
	var ratios, ours, theirs []float64
	for range *benchRuns {
		c.prepare()
		o := c.ours()
		c.prepare()
		t := c.theirs()
		ours, theirs = append(ours, o), append(theirs, t)
		if c.faster {
			o, t = t, o
		}
		ratios = append(ratios, o/t)
	}
	slices.Sort(ratios)
	unit := ""
	if c.faster {
		unit = " times as fast"
	}
	line := fmt.Sprintf("| %s | %s | %s%s | %s, %s | %s |\n", c.name, c.beside, figure(median(ratios)), unit,
		figure(ratios[0]), figure(ratios[len(ratios)-1]), c.bar)
	b.table.WriteString(line)
	b.Logf("%s  [%.4g : %.4g]", strings.TrimSpace(line), median(ours), median(theirs))
}

// figure has two digits that count.
func figure(x float64) string {
	digits := max(0, 1-int(math.Floor(math.Log10(x))))
	return fmt.Sprintf("%.*f", digits, x)
}

// clock is how many seconds a command takes.
func (b *bench) clock(name string, args ...string) float64 {
	b.Helper()
	_, took := b.spent(name, args...)
	return took
}

// processors is how many seconds of processors a command and its children take.
func (b *bench) processors(name string, args ...string) float64 {
	b.Helper()
	cpu, _ := b.spent(name, args...)
	return cpu
}

func (b *bench) spent(name string, args ...string) (cpu, wall float64) {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(b.dir, "config"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s %s: %v\n%.500s", name, strings.Join(args, " "), err, stderr.String())
	}
	s := cmd.ProcessState
	return (s.UserTime() + s.SystemTime()).Seconds(), time.Since(begin).Seconds()
}

// machineName says what the figures were measured on.
func machineName() string {
	var u unix.Utsname
	unix.Uname(&u)
	cpu := "?"
	text, _ := os.ReadFile("/proc/cpuinfo")
	if _, after, ok := strings.Cut(string(text), "model name\t: "); ok {
		cpu, _, _ = strings.Cut(after, "\n")
	}
	return fmt.Sprintf("%d processors (%s), Linux %s, %s", runtime.NumCPU(), cpu, unix.ByteSliceToString(u.Release[:]),
		runtime.Version())
}
