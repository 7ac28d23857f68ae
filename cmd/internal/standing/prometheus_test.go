package standing

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"wgkeys/cmd/internal/remote"
)

// parse reads metrics with Prometheus' parser.
func parse(t *testing.T, text []byte) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return families
}

// valueOf returns the value of a metric that has these labels, or "".
func valueOf(f *dto.MetricFamily, labels map[string]string) string {
	for _, m := range f.GetMetric() {
		have := map[string]string{}
		for _, l := range m.GetLabel() {
			have[l.GetName()] = l.GetValue()
		}
		fits := true
		for name, value := range labels {
			fits = fits && have[name] == value
		}
		if fits {
			return fmt.Sprintf("%.0f", m.GetGauge().GetValue()+m.GetCounter().GetValue())
		}
	}
	return ""
}

// TestPrometheus: Prometheus' parser finds the values under the names of host and peer.
func TestPrometheus(t *testing.T) {
	hosts := append(kinds(), status(`odd "name" \`, 1, func(s *remote.HostStatus) { s.Version = "wgkeys \"v9\"\n\xff" }))
	text := Prometheus(hosts, noon)
	families := parse(t, text)
	for _, want := range []struct{ metric, host, label, is, value string }{
		{"wgkeys_answered", "well", "", "", "1"},
		{"wgkeys_answered", "silent", "", "", "0"},
		{"wgkeys_tunnel_up", "well", "", "", "1"},
		{"wgkeys_tunnel_up", "down", "", "", "0"},
		{"wgkeys_tunnel_up", "silent", "", "", ""},
		{"wgkeys_findings", "drifts", "", "", "1"},
		{"wgkeys_drift_steps", "drifts", "", "", "3"},
		{"wgkeys_drift_steps", "well", "", "", "0"},
		{"wgkeys_drift_steps", "down", "", "", ""},
		{"wgkeys_key_agrees", "file", "place", "file", "0"},
		{"wgkeys_key_agrees", "file", "place", "interface", "1"},
		{"wgkeys_key_agrees", "live", "place", "interface", "0"},
		{"wgkeys_key_agrees", "down", "place", "interface", ""},
		{"wgkeys_key_created_timestamp_seconds", "well", "", "", fmt.Sprint(noon.Add(-120 * 24 * time.Hour).Unix())},
		{"wgkeys_key_created_timestamp_seconds", "unknown", "", "", ""},
		{"wgkeys_key_due", "due", "", "", "1"},
		{"wgkeys_rotation_under_way", "rotates", "", "", "1"},
		{"wgkeys_version_info", "other", "version", "wgkeys v1.4.0 (commit ba9876543210)", "1"},
		{"wgkeys_version_info", `odd "name" \`, "version", "wgkeys \"v9\"\n?", "1"},
		{"wgkeys_peers", "drifts", "", "", "2"},
		{"wgkeys_peers_up", "drifts", "", "", "1"},
		{"wgkeys_peer_last_handshake_timestamp_seconds", "well", "peer", "peer1", fmt.Sprint(noon.Unix() - 21)},
		{"wgkeys_peer_received_bytes_total", "well", "peer", "peer0", "12345678"},
		{"wgkeys_peer_sent_bytes_total", "well", "peer", "peer0", "1234567"},
		{"wgkeys_peer_sent_bytes_total", "down", "", "", ""},
	} {
		labels := map[string]string{"host": want.host, "tunnel": "wg0"}
		if want.label != "" {
			labels[want.label] = want.is
		}
		if got := valueOf(families[want.metric], labels); got != want.value {
			t.Errorf("%s of %s, %s %s: %q, want %q", want.metric, want.host, want.label, want.is, got, want.value)
		}
	}
	if got := valueOf(families["wgkeys_last_look_timestamp_seconds"], nil); got != fmt.Sprint(noon.Unix()) {
		t.Errorf("the look was at %q", got)
	}
	wellNamed(t, families)
	promtool(t, text)
}

// wellNamed checks the rules of https://prometheus.io/docs/practices/naming/: only counters
// end in _total, and all of them do.
func wellNamed(t *testing.T, families map[string]*dto.MetricFamily) {
	t.Helper()
	if len(families) != len(metrics)+1 {
		t.Errorf("metrics are %q", slices.Sorted(maps.Keys(families)))
	}
	for name, f := range families {
		isCounter := f.GetType() == dto.MetricType_COUNTER
		if f.GetHelp() == "" || !strings.HasPrefix(name, "wgkeys_") || strings.HasSuffix(name, "_total") != isCounter {
			t.Errorf("%s is a %v, %q", name, f.GetType(), f.GetHelp())
		}
	}
}

// promtool runs Prometheus' linter if it is installed, as make prometheus does.
func promtool(t *testing.T, text []byte) {
	t.Helper()
	program, err := exec.LookPath("promtool")
	if err != nil {
		return
	}
	c := exec.Command(program, "check", "metrics")
	c.Stdin = bytes.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	t.Logf("%s finds nothing to say about %d lines", program, bytes.Count(text, []byte("\n")))
}

// TestLooks: a rate is of the traffic since the look before, even if counters were reset.
func TestLooks(t *testing.T) {
	path := t.TempDir() + "/cache/looks.json"
	hosts := func(at time.Duration, received, sent int64) []*remote.HostStatus {
		return []*remote.HostStatus{status("a", 0, func(s *remote.HostStatus) {
			s.Clock, s.Since = noon.Add(at), nil
			s.Peers = []remote.PeerStatus{{Name: "b", Received: received, Sent: sent}, {Name: "c", Received: 7}}
		})}
	}
	for i, look := range []struct {
		at             time.Duration
		received, sent int64
		want           *remote.Traffic
	}{
		{0, 1000, 2000, nil},
		{2 * time.Second, 1500, 2000, &remote.Traffic{Seconds: 2, Received: 500}},
		{3 * time.Second, 100, 3000, &remote.Traffic{Seconds: 1, Received: 100, Sent: 1000}}, // it has another key since
		{-time.Hour, 200, 4000, nil}, // the clock was set back
		{-time.Hour + time.Second, 300, 4000, &remote.Traffic{Seconds: 1, Received: 100}},
	} {
		all := hosts(look.at, look.received, look.sent)
		l := ReadLooks(path)
		l.Compare(all)
		if err := l.Write(); err != nil {
			t.Fatal(err)
		}
		if got := all[0].Since; (got == nil) != (look.want == nil) || got != nil && *got != *look.want {
			t.Errorf("look %d: %+v, want %+v", i, got, look.want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for _, text := range []string{"", "null", "[]", "{\"wg0/a\": 7}", "{\"wg0/a\": {}}"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all := hosts(0, 1000, 2000)
		ReadLooks(path).Compare(all)
	}
}
