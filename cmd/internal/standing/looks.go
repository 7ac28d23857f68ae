package standing

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"wgkeys/cmd/internal/remote"
	"wgkeys/keyring/files"
)

// Looks are the counters of all peers at the last look at each host, kept in a file of the
// user's. It holds no secret, and if it is lost one rate is missing.
type Looks struct {
	path  string
	hosts map[string]look
}

// A look has the host's clock, and what it had received from each peer and sent to it.
type look struct {
	Clock time.Time           `json:"clock"`
	Peers map[string][2]int64 `json:"peers"`
}

// maxLooks is more bytes than the file of ten thousand hosts with many peers has.
const maxLooks = 64 << 20

// ReadLooks reads the file of earlier looks. If it is missing or invalid, there were none.
func ReadLooks(path string) *Looks {
	l := &Looks{path: path, hosts: map[string]look{}}
	if info, err := os.Stat(path); err != nil || info.Size() > maxLooks {
		return l
	}
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &l.hosts) != nil || l.hosts == nil {
		l.hosts = map[string]look{}
	}
	return l
}

// Compare sets each host's traffic since its earlier look, and records the present one.
func (l *Looks) Compare(all []*remote.HostStatus) {
	for _, s := range all {
		if s.Err != nil || s.Clock.IsZero() {
			continue
		}
		name := s.Tunnel + "/" + s.Host
		if before, ok := l.hosts[name]; ok {
			s.Since = before.since(s)
		}
		now := look{s.Clock, make(map[string][2]int64, len(s.Peers))}
		for _, p := range s.Peers {
			now.Peers[p.Name] = [2]int64{p.Received, p.Sent}
		}
		l.hosts[name] = now
	}
}

// since returns the traffic since l, or nil if the host's clock was set back.
func (l look) since(s *remote.HostStatus) *remote.Traffic {
	t := &remote.Traffic{Seconds: s.Clock.Sub(l.Clock).Seconds()}
	if l.Clock.IsZero() || t.Seconds <= 0 {
		return nil
	}
	for _, p := range s.Peers {
		was := l.Peers[p.Name]
		t.Received += counted(was[0], p.Received)
		t.Sent += counted(was[1], p.Sent)
	}
	return t
}

// counted returns the growth of a counter. If it is less than before, it was reset
// meanwhile, by a new key or a new interface.
func counted(was, is int64) int64 {
	if is < was {
		return is
	}
	return is - was
}

// Write writes the file for the next look.
func (l *Looks) Write() error {
	if l.path == "" {
		return fs.ErrNotExist
	}
	text, err := json.Marshal(l.hosts)
	if err != nil {
		return err
	}
	if err := files.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return err
	}
	return files.Replace(l.path, bytes.NewReader(text), files.Replacement{Mode: 0o600, Inherit: true, Unsynced: true})
}
