package standing

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
)

var (
	noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	key  = keyring.PublicKey{1}
	old  = keyring.PublicKey{2}
	odd  = keyring.PublicKey{3}
)

const ours = "wgkeys v0.0.0-20260102120000-0123456789ab (commit 0123456789ab)"

// status returns a host without problems, after change.
func status(host string, peers int, change func(s *remote.HostStatus)) *remote.HostStatus {
	s := &remote.HostStatus{Host: host, Tunnel: "wg0", Key: key, File: key, Live: key,
		Created: noon.Add(-120 * 24 * time.Hour),
		Drift:   new(int), Version: ours, Clock: noon, PeersUp: peers}
	for i := range peers {
		age := int64(20 + i)
		s.Peers = append(s.Peers, remote.PeerStatus{Name: fmt.Sprintf("peer%d", i), Age: &age, Up: true, Received: 12_345_678,
			Sent: 1_234_567})
	}
	s.Since = &remote.Traffic{Seconds: 2, Received: 300_000, Sent: 200_000}
	if change != nil {
		change(s)
	}
	return s
}

// kinds returns a host of each kind.
func kinds() []*remote.HostStatus {
	return []*remote.HostStatus{
		status("well", 2, nil),
		status("noted", 1, func(s *remote.HostStatus) { s.Notes = []string{"not seen since: phone"} }),
		status("drifts", 2, func(s *remote.HostStatus) {
			s.Drift, s.PeersUp = new(3), 1
			s.Findings = []string{"3 of its settings differ from the tunnel file: wgkeys plan drifts"}
		}),
		status("due", 2, func(s *remote.HostStatus) {
			s.Due = true
			s.Findings = []string{"its key is due: wgkeys rotate due"}
		}),
		status("down", 2, func(s *remote.HostStatus) {
			s.Live, s.Drift, s.Since, s.PeersUp, s.Clock = keyring.PublicKey{}, nil, nil, 0, time.Time{}
			s.Findings = []string{"the tunnel is not up: wgkeys apply down"}
		}),
		status("file", 0, func(s *remote.HostStatus) { s.File = keyring.PublicKey{} }),
		status("live", 0, func(s *remote.HostStatus) { s.Live = old }),
		status("repo", 0, func(s *remote.HostStatus) { s.Live, s.File = old, old }),
		status("all", 0, func(s *remote.HostStatus) { s.Live, s.File = old, odd }),
		status("rotates", 1, func(s *remote.HostStatus) { s.Rotation = "armed" }),
		status("silent", 2, func(s *remote.HostStatus) {
			*s = remote.HostStatus{Host: "silent", Tunnel: "wg0", Created: s.Created, Err: errors.New("no route to host")}
		}),
		status("unknown", 1, func(s *remote.HostStatus) {
			s.Created, s.Since, s.Drift, s.Version = time.Time{}, nil, nil,
				""
		}),
		status("other", 1, func(s *remote.HostStatus) { s.Version = "wgkeys v1.4.0 (commit ba9876543210)" }),
	}
}

func text(lines []ui.Line) string { return (&ui.UI{}).Paint(lines) }

// TestTable: every kind of host, in a terminal of 80 columns.
func TestTable(t *testing.T) {
	table := Table{Hosts: kinds(), Now: noon, Version: ours, Width: 80, Errors: true}
	compare(t, "kinds.txt", text(table.Lines()))
	table.Hosts, table.Peers, table.Width = table.Hosts[:3], true, 0
	compare(t, "peers.txt", text(table.Lines()))
	table.Wrong, table.Peers = true, false
	if got := text(table.Lines()); strings.Contains(got, "well") || !strings.Contains(got, "drifts") {
		t.Errorf("those with problems alone are:\n%s", got)
	}
	table.Hosts = kinds()[:1]
	if got := text(table.Lines()); got != "" {
		t.Errorf("of those without problems there is said:\n%s", got)
	}
}

// TestRemarks: what is below a row is broken between its words, and a command stays whole.
func TestRemarks(t *testing.T) {
	t.Parallel()
	s := &remote.HostStatus{Host: "s031", Tunnel: "wg0", Findings: []string{
		"another key in its file than in the repository, and the clone may be behind; git pull, or if nobody has that key: wgkeys rotate --unknown s031",
	}}
	table := Table{Hosts: []*remote.HostStatus{s}, Now: noon, Version: ours, Width: 60}
	const want = `
  ! another key in its file than in the repository, and the
    clone may be behind; git pull, or if nobody has that
    key: wgkeys rotate --unknown s031
`
	if got := text(table.Lines()); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s", got)
	}
}

// TestPeersFit: the lines about peers are broken between words, too.
func TestPeersFit(t *testing.T) {
	t.Parallel()
	s := status("hub", 2, func(s *remote.HostStatus) { s.Peers[0].Endpoint = "198.18.0.2:30567" })
	table := Table{Hosts: []*remote.HostStatus{s}, Now: noon, Version: ours, Width: 60, Peers: true}
	got := text(table.Lines())
	for line := range strings.Lines(got) {
		if len(line) > 61 {
			t.Errorf("too wide: %s", line)
		}
	}
	if !strings.Contains(got, "198.18.0.2:30567 OUTSIDE\n") {
		t.Errorf("got\n%s", got)
	}
}

// compare compares got with a file in testdata, or writes the file if UPDATE is set.
func compare(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// TestTableFits: fifty hosts with ordinary names fit into 80 columns with all columns, and
// longer names fit without the less important ones. Each row has as many words as the head,
// so that programs can split it at blanks.
func TestTableFits(t *testing.T) {
	var hosts []*remote.HostStatus
	for i := range 50 {
		hosts = append(hosts, status(fmt.Sprintf("edge-%02d", i), i*4, func(s *remote.HostStatus) {
			if i%7 == 3 {
				s.Findings, s.Drift = []string{"3 of its settings differ from the tunnel file: wgkeys plan x"}, new(i*10)
			}
			s.Since.Received = int64(1) << i
		}))
	}
	for _, test := range []struct {
		width, columns int
		name           string
	}{
		{80, len(columns), ""}, {200, len(columns), ""}, {0, len(columns), ""}, {80, len(columns) - 1, "-frankfurt-m"},
		{80, len(columns) - 3, "-frankfurt-am-main-2"}, {60, 7, "-rotterdam"}, {52, 6, "-rotterdam"},
	} {
		for _, s := range hosts {
			s.Host = s.Host[:len("edge-00")] + test.name
		}
		table := Table{Hosts: hosts, Now: noon, Version: ours, Width: test.width}
		lines := strings.Split(strings.TrimSuffix(text(table.Lines()), "\n"), "\n")
		rows := 0
		for _, line := range lines {
			if strings.HasPrefix(line, " ") {
				continue
			}
			rows++
			if test.width > 0 && len(line) > test.width {
				t.Errorf("%d columns: %q has %d", test.width, line, len(line))
			}
			if n := len(strings.Fields(line)); n != test.columns {
				t.Errorf("%d columns: %d words in %q", test.width, n, line)
			}
		}
		if rows != 51 || !strings.HasPrefix(lines[1], "edge-03") {
			t.Errorf("%d rows, and the first is %q", rows, lines[1])
		}
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1.0K", 10 << 10: "10K", 1023 << 10: "1023K",
		1<<20 - 1: "1.0M", 1 << 20: "1.0M", 12_345_678: "12M", 1 << 62: "4.0E"} {
		if got := size(n); got != want || len(got) > 5 {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Second: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m",
		119 * time.Minute: "119m",
		3 * time.Hour:     "3h", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 9999 * 24 * time.Hour: "9999d"} {
		if got := short(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	for version, want := range map[string]string{ours: "0123456", "wgkeys devel": "devel", "wgkeys v1.4.0": "v1.4.0",
		"wgkeys v1.4.0 (commit ba9876543210)": "v1.4.0", "wgkeys devel (commit ba9876543210), with changes": "ba98765+",
		"wgkeys v1.4.1-0.20260102120000-0123456789ab+dirty (commit 0123456789ab), with changes": "0123456+"} {
		if got := shortVersion(version); got != want {
			t.Errorf("%s: %q, want %q", version, got, want)
		}
	}
}
