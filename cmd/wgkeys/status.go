package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
)

func statusCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:      "status",
		Usage:     "show handshakes, traffic, drift and keys of running tunnels",
		ArgsUsage: "[HOST...]",
		Description: "Without HOST: every host. The key that the repository has is compared with the one\n" +
			"in the host's file and the one in use. Exit code 4 if something is not as it\n" +
			"should be, 3 if some hosts did not answer. wgkeys must be on the hosts.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "every host, as without HOST"}, jobsFlag,
			tunnelFlag, hostFlag, jsonFlag, timeoutFlag,
		},
	}, doStatus
}

func doStatus(e *env) error {
	if err := checkJobs(e); err != nil {
		return err
	}
	r, err := e.repo()
	if err != nil {
		return err
	}
	tunnels, err := r.SomeTunnels(e.cli.String("tunnel"))
	if err != nil {
		return err
	}
	hosts, err := hostsMeant(e, tunnels)
	if err != nil {
		return err
	}
	all, err := remote.NewStatuses(r, e.cli.String("tunnel"), hosts)
	if err != nil {
		return err
	}
	askHosts(e, r, all)
	if e.cli.Bool("json") {
		err = e.ui.JSON(all)
	}
	var errs []error
	found := false
	for _, s := range all {
		if s.Err != nil {
			errs = append(errs, s.Err)
		}
		found = found || s.Findings != nil
	}
	if err == nil && errs == nil && found {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	return errors.Join(err, failures(len(errs), len(all), errors.Join(errs...)))
}

// askHosts asks the hosts, and tells a person what they say.
func askHosts(e *env, r *repo.Repo, all []*remote.HostStatus) {
	teller := statusTeller{e.ui, map[*remote.HostStatus]int{}}
	q := remote.Survey{Hosts: e.hosts, Repo: r, Jobs: e.cli.Int("jobs"), Tell: teller.tell, Waits: func(hosts []string) {
		e.ui.Say("still asking %s (--timeout %v)", ui.Naming(hosts), timeoutOf(e))
	}}
	if e.cli.Bool("json") {
		q.Tell = func(*remote.HostStatus) {}
	}
	q.Run(e.ctx, all)
}

// A statusTeller tells a person how hosts stand.
type statusTeller struct {
	ui       *ui.UI
	reported map[*remote.HostStatus]int // how many of its findings
}

// tell tells how a host stands; of one that was told already, what was found since.
func (t statusTeller) tell(s *remote.HostStatus) {
	found, before := t.reported[s]
	switch {
	case s.Err != nil: // told as an error
		return
	case !before:
		t.state(s)
	case len(s.Findings) > found:
		t.ui.Printf("%s %s:\n", s.Host, s.Tunnel)
	}
	if !before {
		for _, n := range s.Notes {
			t.ui.Printf("  note: %s\n", n)
		}
	}
	for _, f := range s.Findings[found:] {
		t.ui.Printf("  ! %s\n", f)
	}
	t.reported[s] = len(s.Findings)
}

func (t statusTeller) state(s *remote.HostStatus) {
	about := "key " + s.Key.String()
	if !s.Created.IsZero() {
		about += ", " + ui.InWords(time.Since(s.Created)) + " old"
	}
	name := s.Host + " " + s.Tunnel
	if s.About != "" {
		name += " (" + s.About + ")"
	}
	t.ui.Printf("%s: %s\n", name, about)
	width := 0
	for _, p := range s.Peers {
		width = max(width, len(p.Name))
	}
	for _, p := range s.Peers {
		shaken := "no handshake yet"
		if p.Age != nil {
			shaken = "handshake " + ui.InWords(time.Duration(*p.Age)*time.Second) + " ago"
		}
		line := fmt.Sprintf("  %-*s  %s, %s received, %s sent", width, p.Name, shaken, ui.InBytes(p.Received), ui.InBytes(p.Sent))
		if p.Endpoint != "" {
			line += ", at " + p.Endpoint + " OUTSIDE"
		}
		t.ui.Printf("%s\n", line)
	}
}
