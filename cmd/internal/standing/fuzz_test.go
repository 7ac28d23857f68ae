package standing

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"wgkeys/cmd/internal/remote"
)

// FuzzLooks: whatever the file of earlier looks has, the next look can be compared with it,
// never has negative traffic, and is stored for the one after.
func FuzzLooks(f *testing.F) {
	f.Add([]byte(`{"wg0/a":{"clock":"2026-01-02T12:00:00Z","peers":{"b":[1,2],"c":[-1,9223372036854775807]}}}`))
	f.Add([]byte(`{"wg0/a":{"clock":"9999-01-02T12:00:00Z","peers":null}}`))
	f.Add([]byte("null"))
	f.Add([]byte(`{"wg0/a":`))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "looks.json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{0, 2} {
			all := []*remote.HostStatus{status("a", 0, func(s *remote.HostStatus) {
				s.Clock, s.Since = noon.Add(time.Duration(2*i)*time.Second), nil
				s.Peers = []remote.PeerStatus{{Name: "b", Received: int64(10 * i), Sent: 5}, {Name: "c", Received: 7}}
			})}
			l := ReadLooks(path)
			l.Compare(all)
			since := all[0].Since
			if since != nil && (since.Seconds <= 0 || since.Received < 0 || since.Sent < 0) {
				t.Errorf("look %d: %+v", i, since)
			}
			if want != 0 && (since == nil || since.Seconds != want || since.Received != 10) {
				t.Errorf("the look before is not known: %+v", since)
			}
			if err := l.Write(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
