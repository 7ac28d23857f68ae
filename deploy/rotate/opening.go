package rotate

import (
	"time"

	"wgkeys/keyring"
)

// An opening is the order in which a switch begins the handshakes with its peers: a few at
// once, and more as those are proved. Hundreds at the same moment would all be answered
// late, and some with a cookie, after which a peer is silent for 5 s. A peer that has to
// wait loses nothing: it still uses its present session.
type opening struct {
	begun  map[keyring.PublicKey]bool
	most   int           // how many may be under way
	proved int           // when it was last looked at
	moved  time.Duration // when one was last proved or begun
}

// next returns the peers to begin with now, of those that have not proved the next key.
// Peers that are far away or asleep delay the rest for no longer than silent.
func (o *opening) next(waiting []keyring.PublicKey, proved int, now time.Duration) []keyring.PublicKey {
	if o.begun == nil {
		o.begun, o.most, o.moved, o.proved = map[keyring.PublicKey]bool{}, atOnce, now, proved
	}
	var idle []keyring.PublicKey
	for _, key := range waiting {
		if !o.begun[key] {
			idle = append(idle, key)
		}
	}
	switch underWay := len(waiting) - len(idle); {
	case proved > o.proved:
		o.most = min(o.most+proved-o.proved, max(o.most, underWay+atOnce, mostAtOnce))
		o.moved = now
	case now-o.moved >= silent:
		o.most = underWay + atOnce
		o.moved = now
	}
	o.proved = proved
	return idle[:min(len(idle), max(0, o.most-(len(waiting)-len(idle))))]
}

// begin records that the handshakes have begun.
func (o *opening) begin(keys []keyring.PublicKey) {
	for _, key := range keys {
		o.begun[key] = true
	}
}

// others are the peers that have nothing to prove.
func others(live Live, prove map[keyring.PublicKey]time.Time) (keys []keyring.PublicKey) {
	for key := range live.Peers {
		if _, ok := prove[key]; !ok {
			keys = append(keys, key)
		}
	}
	return keys
}
