package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/standing"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

func statusCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "status",
		UsageText: "wgkeys status\n" +
			"wgkeys status --watch @web\n" +
			"wgkeys status --prometheus -o /var/lib/prometheus/node-exporter/wgkeys.prom",
		Usage:     "show handshakes, traffic, drift and keys of running tunnels",
		ArgsUsage: "[HOST...]",
		Description: "Without HOST: every host. Those with problems come first, with what to run\n" +
			"beneath them. Exit code 4 if there is a finding, 3 if some hosts did not\n" +
			"answer. wgkeys must be on the hosts. The columns:\n" +
			"    PEERS   those with a handshake within three minutes, of all\n" +
			"    OLDEST  age of the oldest among their last handshakes\n" +
			"    IN OUT  bytes since the tunnel came up, OUTSIDE\n" +
			"    RATE    bytes per second since the last status\n" +
			"    KEY     whether repository, file and interface agree, or which differs;\n" +
			"            repo: the other two agree; next: the key is being replaced\n" +
			"    DRIFT   how many steps apply would take\n" +
			"    AGE     of the key\n" +
			"    WGKEYS  its version on the host\n" +
			"NO_COLOR in the environment turns colours off; a file or pipe never has them.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "every host, as without HOST"}, jobsFlag,
			&cli.BoolFlag{Name: "watch", Usage: "ask again and again, until Ctrl-C"},
			&cli.DurationFlag{Name: "every", Usage: "with --watch, each `DURATION`", Value: watchEvery},
			&cli.BoolFlag{Name: "prometheus", Usage: "write metrics, as node_exporter reads them from a file"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write them, or the JSON, to `FILE`, in one piece"},
			tunnelFlag, hostFlag, jsonFlag, timeoutFlag,
		},
	}, doStatus
}

func doStatus(e *env) error {
	o := statusOptions{json: e.cli.Bool("json"), prometheus: e.cli.Bool("prometheus"), output: e.cli.String("output"),
		watch: e.cli.Bool("watch") || e.cli.IsSet("every"), every: e.cli.Duration("every"),
		tunnel: e.cli.String("tunnel"), jobs: e.cli.Int("jobs")}
	if err := o.check(e.names()); err != nil {
		return err
	}
	if err := checkJobs(e); err != nil {
		return err
	}
	w := &statusWriter{e: e, o: o}
	if o.watch {
		return watchStatus(e, w)
	}
	all, err := w.look(remote.Survey{})
	if err != nil {
		return err
	}
	if err := w.write(all); err != nil {
		return err
	}
	return verdict(e, o, all)
}

// statusOptions say what to ask the hosts, and where the result goes.
type statusOptions struct {
	json, prometheus bool
	output           string        // a file for either; "": standard output
	watch            bool          // again and again
	every            time.Duration // how often
	tunnel           string        // "": all
	jobs             int
}

// check refuses options that make no sense together, or with those hosts.
func (o statusOptions) check(hosts []string) error {
	switch {
	case o.json && o.prometheus:
		return ui.Usage("cannot go together:", "--json and --prometheus", "each is a form of the whole result",
			"wgkeys status --help")
	case o.output != "" && !o.json && !o.prometheus:
		return ui.Usage("nothing to write to", o.output, "a table is for a terminal",
			"wgkeys status --prometheus -o FILE, or --json -o FILE")
	case o.every < time.Second:
		return ui.Usage("too short a time for", "--every", "hosts are asked over ssh", "wgkeys status --watch --every 2s")
	}
	for _, name := range hosts {
		if _, err := time.ParseDuration(name); err == nil && o.watch {
			return ui.Usage("no such host", name, "--watch has no value", "wgkeys status --watch --every "+name)
		}
	}
	return nil
}

// look asks the selected hosts.
func (w *statusWriter) look(q remote.Survey) ([]*remote.HostStatus, error) {
	e := w.e
	r, err := e.repo()
	if err != nil {
		return nil, err
	}
	defer r.Root.Close() // a watch opens it again and again
	tunnels, err := r.SomeTunnels(w.o.tunnel)
	if err != nil {
		return nil, err
	}
	hosts, err := hostsMeant(e, tunnels)
	if err != nil {
		return nil, err
	}
	w.repo = r.Dir
	all, err := remote.NewStatuses(r, w.o.tunnel, hosts)
	if err != nil {
		return nil, err
	}
	q.Hosts, q.Repo, q.Jobs = e.hosts, r, w.o.jobs
	q.Waits = func(hosts []string) {
		e.hosts.Say.Say("still asking %s (--timeout %v)", ui.Naming(hosts), timeoutOf(e))
	}
	end := func() {}
	if !q.Follow {
		q.Step, end = e.ui.Progress("asking hosts")
	}
	q.Run(e.ctx, all)
	end()
	return all, nil
}

// verdict is the exit code of a look, and the error about hosts that did not answer.
func verdict(e *env, o statusOptions, all []*remote.HostStatus) error {
	var errs []error
	failed, hosts := hostsIn(all, func(s *remote.HostStatus) bool { return s.Err != nil }), hostsIn(all, nil)
	found, ended := false, 0
	for _, s := range all {
		switch {
		case s.Err != nil && e.ctx.Err() != nil && errors.Is(s.Err, e.ctx.Err()):
			ended++ // in one of its tunnels
		case s.Err != nil:
			errs = append(errs, s.Err)
		}
		found = found || s.Findings != nil
	}
	if len(failed) == 0 && found {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	if ended == len(all) {
		return fault.New("interrupted", "", "no host gave an answer yet", "")
	}
	if ended > 0 {
		why := fmt.Sprintf("%d of %s gave no answer yet", ended, ui.Plural(len(hosts), "host"))
		errs = append(errs, fault.New("interrupted", "", why, ""))
	}
	if n := len(failed); n > 0 && n < len(hosts) {
		hint := "once that is fixed: " + retry(e, failed)
		if o.prometheus || o.json { // a whole result is about all of them
			hint = ""
		}
		errs = append(errs, fault.New(fmt.Sprintf("no answer from %d of %s", n, ui.Plural(len(hosts), "host")), "", "", hint))
	}
	return failures(len(failed), len(hosts), errors.Join(errs...))
}

// hostsIn are the hosts of the statuses that fit, or of all, each once, though it may be in
// several tunnels.
func hostsIn(all []*remote.HostStatus, fits func(*remote.HostStatus) bool) (hosts []string) {
	for _, s := range all {
		if (fits == nil || fits(s)) && !slices.Contains(hosts, s.Host) {
			hosts = append(hosts, s.Host)
		}
	}
	return hosts
}

// A statusWriter writes statuses in the form that was asked for.
type statusWriter struct {
	e     *env
	o     statusOptions
	repo  string          // the repository's folder
	looks *standing.Looks // the last ones; nil: not read yet
}

func (w *statusWriter) write(all []*remote.HostStatus) error {
	if !w.o.prometheus {
		w.compare(all)
	}
	switch {
	case w.o.json && w.o.output != "":
		var text bytes.Buffer
		if err := (&ui.UI{Stdout: &text}).JSON(all); err != nil {
			return err
		}
		return w.file(text.Bytes())
	case w.o.json:
		return w.e.ui.JSON(all)
	case w.o.prometheus && w.o.output != "":
		return w.file(standing.Prometheus(all, time.Now()))
	case w.o.prometheus:
		w.e.ui.Printf("%s", standing.Prometheus(all, time.Now()))
		return nil
	}
	colours(w.e.ui)
	lines := w.table(all).Lines()
	w.e.ui.Draw(lines)
	w.tellScrolled(all, len(lines))
	return nil
}

// table prints the hosts for a user.
func (w *statusWriter) table(all []*remote.HostStatus) *standing.Table {
	t := &standing.Table{Hosts: all, Now: time.Now(), Version: version(), Peers: w.e.ui.Verbose, Wrong: w.e.ui.Quiet}
	if size, ok := w.e.ui.TerminalSize(); ok {
		t.Width = size.Columns
	}
	return t
}

// tellScrolled names the hosts with problems again if the first lines have scrolled off the
// terminal.
func (w *statusWriter) tellScrolled(all []*remote.HostStatus, lines int) {
	size, ok := w.e.ui.TerminalSize()
	if !ok || lines < size.Lines {
		return
	}
	hosts := hostsIn(all, func(s *remote.HostStatus) bool { return s.Err != nil || s.Findings != nil })
	if hosts != nil {
		w.e.ui.Say("%d of %d have problems, at the top; -q shows them alone: %s", len(hosts), len(hostsIn(all, nil)),
			ui.Naming(hosts))
	}
}

// file replaces a file with the result.
func (w *statusWriter) file(text []byte) error {
	path := w.o.output
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fault.NewFile("cannot write the result to", path, "it is there, and no ordinary file",
			"without -o it goes to standard output; ls -ld "+ui.Quoted(path))
	}
	if to, err := filepath.EvalSymlinks(path); err == nil { // where a link leads
		path = to
	}
	if err := files.Replace(path, bytes.NewReader(text), files.Replacement{Mode: 0o644}); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write the result to", path, "ls -ld "+ui.Quoted(filepath.Dir(path)))
	}
	return nil
}

// compare computes the traffic since the last look. If the counters cannot be kept, only
// the rate is missing.
func (w *statusWriter) compare(all []*remote.HostStatus) {
	if w.looks == nil {
		w.looks = standing.ReadLooks(looksFile(w.repo))
	}
	w.looks.Compare(all)
	if err := w.looks.Write(); err != nil && w.e.ui.Verbose {
		w.e.hosts.Say.Warn(fault.Wrap(fault.Errno(err), "cannot remember this look for the next rate", "",
			"echo ${XDG_CACHE_HOME:-$HOME/.cache}"))
	}
}

// looksFile is where the counters of a repository's last look are kept; "": nowhere.
func looksFile(repo string) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "wgkeys", fmt.Sprintf("looks-%.16x.json", sha256.Sum256([]byte(repo))))
}

// colours decides about them, see https://no-color.org.
func colours(u *ui.UI) {
	_, terminal := u.TerminalSize()
	u.Dumb = os.Getenv("TERM") == "dumb"
	u.Colours = terminal && !u.Dumb && os.Getenv("NO_COLOR") == ""
}
