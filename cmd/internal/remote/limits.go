package remote

import (
	"sync"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
)

// limits are what an older wgkeys on a host does not know, and can do without.
type limits struct{ end, of, diagnosis bool }

// learn adds the limit of which a host has refused something, by its name, and reports
// whether it was not known.
func (l *limits) learn(refused string) bool {
	before := *l
	switch {
	case refused == ui.EndFlag:
		l.end, l.of = true, true // --of came after --tell-end
	case refused == ui.OfFlag:
		l.of = true
	case tunnel.OnlyDiagnosis(refused):
		l.diagnosis = true
	}
	return *l != before
}

// limitsOf are those of hosts, by their names.
type limitsOf struct {
	mu sync.Mutex
	of map[string]limits
}

func (l *limitsOf) get(host string) limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[host]
}

func (l *limitsOf) set(host string, to limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[string]limits{}
	}
	l.of[host] = to
}
