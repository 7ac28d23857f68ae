package standing

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"wgkeys/cmd/internal/remote"
)

// A metric is a Prometheus metric with a function that returns its values for a host and
// tunnel. The names follow https://prometheus.io/docs/practices/naming/.
type metric struct {
	name, kind, help string
	of               func(s *remote.HostStatus, now time.Time) []sample
}

// A sample is a value with its labels other than host and tunnel.
type sample struct {
	labels []string // name, value, name, value
	value  float64
}

const (
	gauge   = "gauge"
	counter = "counter"
)

var metrics = []metric{
	{"wgkeys_answered", gauge, "Whether the host could be asked at the last look.",
		func(s *remote.HostStatus, _ time.Time) []sample { return truth(s.Err == nil) }},
	{"wgkeys_tunnel_up", gauge, "Whether the tunnel's interface is there, with a private key.",
		answered(func(s *remote.HostStatus, _ time.Time) []sample { return truth(!s.Live.IsZero()) })},
	{"wgkeys_findings", gauge, "How many problems status has found; wgkeys status lists them.",
		answered(func(s *remote.HostStatus, _ time.Time) []sample { return value(len(s.Findings)) })},
	{"wgkeys_drift_steps", gauge, "How many steps apply would take.", func(s *remote.HostStatus, _ time.Time) []sample {
		if s.Drift == nil {
			return nil
		}
		return value(*s.Drift)
	}},
	{"wgkeys_key_agrees", gauge, "Whether the key of the place, file or interface, is the repository's, or its next one.",
		keysAgree},
	{"wgkeys_key_created_timestamp_seconds", gauge, "When the key was made, in seconds since 1970.",
		func(s *remote.HostStatus, _ time.Time) []sample {
			if s.Created.IsZero() {
				return nil
			}
			return value(s.Created.Unix())
		}},
	{"wgkeys_key_due", gauge, "Whether the key is older than max_key_age.",
		func(s *remote.HostStatus, _ time.Time) []sample { return truth(s.Due) }},
	{"wgkeys_rotation_under_way", gauge, "Whether the key is being replaced.",
		answered(func(s *remote.HostStatus, _ time.Time) []sample { return truth(s.Rotation != "" || !s.Next.IsZero()) })},
	{"wgkeys_version_info", gauge, "The version of wgkeys on the host.",
		answered(func(s *remote.HostStatus, _ time.Time) []sample { return []sample{{[]string{"version", s.Version}, 1}} })},
	{"wgkeys_peers", gauge, "How many peers the host should have.",
		answered(func(s *remote.HostStatus, _ time.Time) []sample { return value(len(s.Peers)) })},
	{"wgkeys_peers_up", gauge, "How many peers have had a handshake within the last three minutes.",
		answered(func(s *remote.HostStatus, _ time.Time) []sample { return value(s.PeersUp) })},
	{"wgkeys_peer_last_handshake_timestamp_seconds", gauge, "When the last handshake was, in seconds since 1970.",
		handshakes},
	{"wgkeys_peer_received_bytes_total", counter, "What the host has received from the peer, OUTSIDE.",
		perPeer(func(received, _ int64) int64 { return received })},
	{"wgkeys_peer_sent_bytes_total", counter, "What the host has sent to the peer, OUTSIDE.",
		perPeer(func(_, sent int64) int64 { return sent })},
}

func value[N int | int64](n N) []sample { return []sample{{nil, float64(n)}} }

func truth(is bool) []sample {
	if is {
		return value(1)
	}
	return value(0)
}

// answered returns of for hosts that answered, and no values for others.
func answered(of func(*remote.HostStatus, time.Time) []sample) func(*remote.HostStatus, time.Time) []sample {
	return func(s *remote.HostStatus, now time.Time) []sample {
		if s.Err != nil {
			return nil
		}
		return of(s, now)
	}
}

func keysAgree(s *remote.HostStatus, _ time.Time) []sample {
	if s.Err != nil {
		return nil
	}
	all := []sample{{[]string{"place", "file"}, truth(s.Expected(s.File))[0].value}}
	if !s.Live.IsZero() {
		all = append(all, sample{[]string{"place", "interface"}, truth(s.Expected(s.Live))[0].value})
	}
	return all
}

// handshakes uses this machine's clock, because the host reports how long ago they were.
func handshakes(s *remote.HostStatus, now time.Time) (all []sample) {
	for _, p := range s.Peers {
		if p.Age != nil {
			all = append(all, sample{[]string{"peer", p.Name}, float64(now.Unix() - *p.Age)})
		}
	}
	return all
}

func perPeer(of func(received, sent int64) int64) func(*remote.HostStatus, time.Time) []sample {
	return func(s *remote.HostStatus, _ time.Time) (all []sample) {
		if s.Err != nil || s.Live.IsZero() {
			return nil
		}
		for _, p := range s.Peers {
			all = append(all, sample{[]string{"peer", p.Name}, float64(of(p.Received, p.Sent))})
		}
		return all
	}
}

// Prometheus returns the status of hosts in Prometheus' text format, for node_exporter's
// textfile collector.
func Prometheus(all []*remote.HostStatus, now time.Time) []byte {
	var b bytes.Buffer
	for _, m := range metrics {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %[1]s %[3]s\n", m.name, m.help, m.kind)
		for _, s := range all {
			for _, v := range m.of(s, now) {
				labels := slices.Concat([]string{"host", s.Host, "tunnel", s.Tunnel}, v.labels)
				fmt.Fprintf(&b, "%s%s %s\n", m.name, inBraces(labels), number(v.value))
			}
		}
	}
	fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %[1]s gauge\n%[1]s %[3]d\n", "wgkeys_last_look_timestamp_seconds",
		"When the hosts were asked, in seconds since 1970.", now.Unix())
	return b.Bytes()
}

// number formats an integer without an exponent. All values are integers.
func number(f float64) string { return fmt.Sprintf("%.0f", f) }

var inLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func inBraces(labels []string) string {
	var b strings.Builder
	for i := 0; i < len(labels); i += 2 {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		fmt.Fprintf(&b, `%s%s="%s"`, separator, labels[i], inLabel.Replace(strings.ToValidUTF8(labels[i+1], "?")))
	}
	return b.String() + "}"
}
