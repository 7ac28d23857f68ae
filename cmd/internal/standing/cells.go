package standing

import (
	"fmt"
	"strings"
	"time"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/lazyregexp"
)

// none stands for a value that is missing or does not apply.
const none = "-"

// A cell is one word of a row, because programs split rows at white space.
type cell struct {
	text  string
	style ui.Style
}

// row returns the line of a host, in the order of columns.
func (t *Table) row(s *remote.HostStatus) []cell {
	host := cell{s.Host, ui.Plain}
	switch {
	case s.Err != nil || len(s.Findings) > 0:
		host.style = ui.Red
	case len(s.Notes) > 0:
		host.style = ui.Yellow
	}
	row := make([]cell, len(columns))
	for i := range row {
		row[i] = cell{none, ui.Plain}
	}
	row[atHost], row[atTunnel] = host, cell{s.Tunnel, ui.Plain}
	if !s.Created.IsZero() {
		row[atAge] = cell{short(t.Now.Sub(s.Created)), ui.Plain}
	}
	if s.Due {
		row[atAge].style = ui.Yellow
	}
	if s.Err != nil {
		return row
	}
	row[atPeers], row[atKey] = peers(s), keys(s)
	row[atVersion] = t.version(s)
	if s.Live.IsZero() {
		return row
	}
	received, sent := totals(s)
	row[atOldest], row[atIn], row[atOut], row[atRate] = oldest(s), cell{size(received), ui.Plain},
		cell{size(sent), ui.Plain}, rate(s)
	if s.Drift != nil {
		row[atDrift] = cell{fmt.Sprint(*s.Drift), ui.Plain}
	}
	if s.Drifts() {
		row[atDrift].style = ui.Yellow
	}
	return row
}

func peers(s *remote.HostStatus) cell {
	if s.Live.IsZero() {
		return cell{"down", ui.Red}
	}
	return cell{fmt.Sprintf("%d/%d", s.PeersUp, len(s.Peers)), ui.Plain}
}

// oldest returns the age of the oldest of the last handshakes with each peer.
func oldest(s *remote.HostStatus) cell {
	seconds := int64(-1)
	for _, p := range s.Peers {
		if p.Age != nil {
			seconds = max(seconds, *p.Age)
		}
	}
	switch {
	case len(s.Peers) == 0:
		return cell{none, ui.Plain}
	case seconds < 0:
		return cell{"never", ui.Plain}
	}
	return cell{short(time.Duration(seconds) * time.Second), ui.Plain}
}

// keys reports whether repository, key file and interface have the same key or, in a
// rotation, the next one; otherwise which of the three differs.
func keys(s *remote.HostStatus) cell {
	if s.Rotation != "" || !s.Next.IsZero() {
		return cell{"next", ui.Yellow}
	}
	file := s.File != s.Key
	live := !s.Live.IsZero() && s.Live != s.Key
	switch {
	case file && live && s.File == s.Live:
		return cell{"repo", ui.Red}
	case file && live:
		return cell{"all", ui.Red}
	case file:
		return cell{"file", ui.Red}
	case live:
		return cell{"live", ui.Red}
	}
	return cell{"agree", ui.Plain}
}

func totals(s *remote.HostStatus) (received, sent int64) {
	for _, p := range s.Peers {
		received, sent = received+p.Received, sent+p.Sent
	}
	return received, sent
}

// rate returns the rate of both directions together.
func rate(s *remote.HostStatus) cell {
	if s.Since == nil || s.Since.Seconds <= 0 {
		return cell{none, ui.Plain}
	}
	return cell{size(int64(float64(s.Since.Received+s.Since.Sent)/s.Since.Seconds)) + "/s", ui.Plain}
}

// version returns the version of wgkeys on the host, highlighted if it is not this one.
func (t *Table) version(s *remote.HostStatus) cell {
	switch s.Version {
	case "":
		return cell{"older", ui.Yellow}
	case t.Version:
		return cell{shortVersion(s.Version), ui.Plain}
	}
	return cell{shortVersion(s.Version), ui.Yellow}
}

var (
	commitOf = lazyregexp.New(`\(commit ([0-9a-f]{7})`)
	release  = lazyregexp.New(`^wgkeys (v[0-9][^ ]*)`)
	pseudo   = lazyregexp.New(`[.-][0-9]{14}-[0-9a-f]{12}`)
)

// shortVersion returns the release or, if it is not a release, the beginning of the commit.
func shortVersion(version string) string {
	short := "devel"
	if m := commitOf().FindStringSubmatch(version); m != nil {
		short = m[1]
	}
	if m := release().FindStringSubmatch(version); m != nil && !pseudo().MatchString(m[1]) {
		short = m[1]
	}
	if strings.HasSuffix(version, "with changes") && !strings.HasSuffix(short, "+dirty") {
		short += "+"
	}
	return short
}

// short returns a duration in its largest unit: "45s", "12m", "3h", "120d".
func short(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

// size returns an amount in at most five characters, in powers of 1024 as wg(8) does.
func size(n int64) string {
	units, f := "BKMGTPE", float64(n)
	i := 0
	for f >= 1023.5 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i > 0 && f < 9.95 {
		return fmt.Sprintf("%.1f%c", f, units[i])
	}
	return fmt.Sprintf("%.0f%c", f, units[i])
}
