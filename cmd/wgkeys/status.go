package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
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
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "ask `N` hosts at once", Value: defaultJobs},
			tunnelFlag, hostFlag, jsonFlag, timeoutFlag,
		},
	}, doStatus
}

// A hostStatus is how one host stands in one tunnel.
type hostStatus struct {
	Host     string            `json:"host"`
	Tunnel   string            `json:"tunnel"`
	Key      keyring.PublicKey `json:"key"`                // in the repository
	Next     keyring.PublicKey `json:"next,omitzero"`      // in the repository: a rotation is under way
	File     keyring.PublicKey `json:"file,omitzero"`      // in the host's key file
	Live     keyring.PublicKey `json:"live,omitzero"`      // in use; none: the tunnel is not up
	Created  time.Time         `json:"created,omitzero"`   // when the key was made
	Due      bool              `json:"due"`                // it is older than max_key_age
	Drift    int               `json:"drift"`              // how many steps apply would take
	Rotation string            `json:"rotation,omitempty"` // the phase of one that the host is at
	Peers    []peerStatus      `json:"peers"`
	Findings []string          `json:"findings,omitempty"` // what to look into
	Error    string            `json:"error,omitempty"`    // it was not asked, or gave no answer
	err      error
	told     bool // on the screen
	found    int  // so many of the findings too

	tunnel *tunnel.Tunnel
	view   *tunnel.View
	answer rotate.Answer
	dead   []deadPeer
	hears  map[keyring.PublicKey]bool // the peers from which something arrives
	past   *repo.KeyHistory
	older  bool // it uses a key that was replaced
}

// A peerStatus is what the kernel of a host tells of a peer.
type peerStatus struct {
	Name     string `json:"name"`
	Age      *int64 `json:"handshake_age"`      // seconds since the last handshake; null: never
	Received int64  `json:"received"`           // bytes
	Sent     int64  `json:"sent"`               // bytes
	Endpoint string `json:"endpoint,omitempty"` // OUTSIDE
}

func doStatus(e *env) error {
	if e.cli.Int("jobs") < 1 {
		return ui.Usage("too few hosts at once for", "wgkeys status", "-j begins with 1", "wgkeys status --help")
	}
	r, err := e.repo()
	if err != nil {
		return err
	}
	all, err := statusHosts(r, e)
	if err != nil {
		return err
	}
	e.askAll(r, all)
	if e.cli.Bool("json") {
		err = e.ui.JSON(all)
	}
	var errs []error
	found := false
	for _, s := range all {
		if s.err != nil {
			errs = append(errs, s.err)
		}
		found = found || s.Findings != nil
	}
	if err == nil && errs == nil && found {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	return errors.Join(err, failures(len(errs), len(all), errors.Join(errs...)))
}

// statusHosts are the hosts that were named, or all.
func statusHosts(r *repo.Repo, e *env) ([]*hostStatus, error) {
	tunnels, err := r.SomeTunnels(e.cli.String("tunnel"))
	if err != nil {
		return nil, err
	}
	var all []*hostStatus
	missing, past := slices.Clone(e.names()), &repo.KeyHistory{Repo: r}
	for _, t := range tunnels {
		for _, host := range t.Hosts() {
			if len(e.names()) > 0 && !slices.Contains(e.names(), host) {
				continue
			}
			missing = slices.DeleteFunc(missing, func(m string) bool { return m == host })
			all = append(all, &hostStatus{Host: host, Tunnel: t.Name, Peers: []peerStatus{}, tunnel: t, past: past})
		}
	}
	if len(missing) > 0 {
		return nil, fault.New("no such host", missing[0], "no tunnel file names it", "grep hosts "+tunnel.Dir+"/*.toml")
	}
	return all, nil
}

// askAll asks the hosts, some at once, and tells what they say as it comes. What
// only several of them together tell is told after it.
func (e *env) askAll(r *repo.Repo, all []*hostStatus) {
	g := gathering{all: all, tell: e.tellStatus, waits: func(hosts []string) {
		e.ui.Say("still asking %s (--timeout %v)", ui.Naming(hosts), e.timeout())
	}}
	if e.cli.Bool("json") {
		g.tell = func(*hostStatus) {}
	}
	g.gather(e.cli.Int("jobs"), func(s *hostStatus) {
		if s.err = s.read(e, r, s.tunnel); s.err != nil {
			s.Error = s.err.Error()
		}
	})
	e.judgeDead(r, all)
	e.findLosses(r, all)
	for _, s := range all {
		g.tell(s)
	}
}

// read compares repository, host and kernel.
func (s *hostStatus) read(e *env, r *repo.Repo, t *tunnel.Tunnel) error {
	v, err := r.View(t, s.Host)
	if err != nil {
		return err
	}
	s.Key, s.Next = v.PublicKey, v.NextPublicKey
	meta, err := r.Vault.Meta(s.Host, vault.KeyFile(t.Name))
	switch {
	case err == nil:
		s.Created, s.Due = meta.Created, r.TooOld(meta, time.Now())
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, vault.ErrNoMeta):
		return err
	}
	party, err := e.party(t, s.Host)
	if err != nil {
		return err
	}
	a, err := party.Look(e.ctx, t.Name)
	if err != nil {
		return err
	}
	s.File, s.Live = a.File.PublicKey, a.Live.PublicKey
	if a.Record != nil && !a.Record.Over() {
		s.Rotation = string(a.Record.Phase)
	}
	s.view, s.answer = v, a
	look := func() (rotate.Answer, error) { return party.Look(e.ctx, t.Name) }
	if err := s.findDead(e.ctx, look); err != nil {
		return err
	}
	s.addPeers(v, s.answer)
	if !s.Live.IsZero() && s.Rotation == "" {
		if plan, err := e.drift(t, v); err == nil {
			s.Drift, s.Findings = len(plan.Steps), plan.Findings
		} else { // what is known already is told all the same
			s.Findings = append(s.Findings, inOneLine(err))
		}
	}
	s.findUnresolved()
	s.judge(e.ctx)
	return nil
}

func (s *hostStatus) addPeers(v *tunnel.View, a rotate.Answer) {
	for _, p := range v.Peers {
		key := keyInUse(&p, a)
		live := a.Live.Peers[key]
		peer := peerStatus{Name: p.Name, Received: live.Received, Sent: live.Sent, Endpoint: live.Endpoint}
		if age, ok := a.Age(key); ok {
			seconds := int64(age.Seconds())
			peer.Age = &seconds
		}
		s.Peers = append(s.Peers, peer)
	}
}

// judge tells what is not as it should be, and what to run.
func (s *hostStatus) judge(ctx context.Context) {
	a := s.answer
	find := func(what, command string) { s.Findings = append(s.Findings, what+": wgkeys "+command+" "+s.Host) }
	switch {
	case s.Rotation != "":
		find("the key of "+a.Record.Host+" is being replaced, "+s.Rotation+"; look again", "status")
	case !s.Next.IsZero():
		find("a rotation is not finished", "rotate")
	}
	expected := func(k keyring.PublicKey) bool { return k == s.Key || k == s.Next && !s.Next.IsZero() }
	switch {
	case s.File.IsZero() && !s.Live.IsZero() && !expected(s.Live): // told below
	case s.File.IsZero():
		find("no key on the host ("+a.File.Why+")", "push")
	case !expected(s.File):
		find(s.otherKey(ctx, "another key in its file than in the repository", s.File, "push"))
	}
	switch {
	case s.Live.IsZero() && a.Live.Gone != "":
		find("the tunnel is down: "+a.Live.Gone, "apply")
	case s.Live.IsZero():
		find("the tunnel is not up", "apply")
	case !expected(s.Live) && s.Live == s.File: // told already
		s.older = s.restored(ctx)
	case !expected(s.Live):
		s.older = s.restored(ctx)
		find(s.otherKey(ctx, "it uses another key than the repository has, "+s.Live.String(), s.Live, "apply"))
	}
	if s.Drift > 0 {
		find(fmt.Sprintf("%d of its settings differ from the tunnel file", s.Drift), "plan")
	}
	if s.Due {
		find("its key is due", "rotate")
	}
}

// drift is what apply would do on a host, and what it could not mend there.
func (e *env) drift(t *tunnel.Tunnel, v *tunnel.View) (plan planned, err error) {
	if e.isHere(t, v.Host) && os.Geteuid() == 0 {
		s, err := linux.Look()
		if err != nil {
			return plan, err
		}
		defer s.Close()
		made, err := s.Plan(e.ctx, v)
		if refused := refusedBy(err); refused != "" {
			return planned{Findings: []string{refused}}, nil
		}
		if err != nil {
			return plan, err
		}
		return planJSON(made), nil
	}
	var view, said bytes.Buffer
	if err := tunnel.EncodeView(&view, v); err != nil {
		return plan, err
	}
	err = e.runner(t, v.Host).Run(e.ctx, asRoot+" plan --view - --json", &view, &bounded{w: &said, left: maxAnswer})
	if exit := (*ssh.ExitError)(nil); errors.As(err, &exit) && exit.Code == ui.ExitFindings {
		err = nil
	}
	if refused, ok := refusedThere(&said); ok {
		return refused, nil
	}
	if err != nil {
		hint := e.upgradeHint(t, v.Host, err)
		if hint == "" {
			hint = "wgkeys plan " + v.Host
		}
		return plan, fault.Wrap(err, "cannot plan on host", v.Host, hint)
	}
	if err := json.Unmarshal(said.Bytes(), &plan); err != nil {
		return plan, fault.New("cannot understand the plan of host", v.Host, "its wgkeys may be another version", "wgkeys plan "+v.Host)
	}
	return plan, nil
}

// tellStatus tells how a host stands; of one that was told already, what was found
// since.
func (e *env) tellStatus(s *hostStatus) {
	switch {
	case s.err != nil: // told as an error
		return
	case !s.told:
		e.tellState(s)
	case len(s.Findings) > s.found:
		e.ui.Printf("%s %s:\n", s.Host, s.Tunnel)
	}
	for _, f := range s.Findings[s.found:] {
		e.ui.Printf("  ! %s\n", f)
	}
	s.told, s.found = true, len(s.Findings)
}

func (e *env) tellState(s *hostStatus) {
	about := "key " + s.Key.String()
	if !s.Created.IsZero() {
		about += ", " + ui.InWords(time.Since(s.Created)) + " old"
	}
	e.ui.Printf("%s %s: %s\n", s.Host, s.Tunnel, about)
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
		e.ui.Printf("%s\n", line)
	}
}

// otherKey tells what to do about a host that has another key than the repository. Where
// this clone does not know that one, it does not lead to putting the old one back.
func (s *hostStatus) otherKey(ctx context.Context, what string, has keyring.PublicKey, command string) (finding, hint string) {
	if err := s.past.MayReplace(ctx, s.Host, s.Tunnel, "", s.Key.String(), has.String()); err != nil {
		what += ", and the clone may be behind; git pull, or if nobody has that key"
		command = "rotate --unknown"
	}
	if s.past.IsOlder(ctx, s.Host, s.Tunnel, s.Key, has) {
		what = strings.Replace(what, "another key", "an older key", 1)
	}
	return what, command
}

// restored reports whether a host uses an older key.
func (s *hostStatus) restored(ctx context.Context) bool {
	return s.Live != s.Next && s.Live != s.Key && s.past.IsOlder(ctx, s.Host, s.Tunnel, s.Key, s.Live)
}

// inPlaceOf has a host use the key of the repository.
func inPlaceOf(host string) string { return "wgkeys push " + host + ", then wgkeys apply " + host }
