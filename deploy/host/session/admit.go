package session

import (
	"slices"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/revoked"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// A view may come from a clone of the repository that is behind, or have been kept when
// this host's state was older. Before it is applied the host checks the keys in it against
// the record of replaced keys: a view that has such a key, and not its successor, is older
// than the host's state.

// An Admission says what to do with a view that has replaced keys.
type Admission int

const (
	RefuseOld Admission = iota // it is refused
	AllowOld                   // it is accepted, except for stolen keys
	DropOld                    // their peers get a key that nobody has, so that the rest comes up
)

// An admitter checks one view.
type admitter struct {
	revoked.List
	view *tunnel.View
	has  map[keyring.PublicKey]bool // all keys of the view
	how  Admission
}

// admit returns view as it may be applied.
func admit(view *tunnel.View, how Admission) (*tunnel.View, error) {
	list, err := revoked.Read()
	if err != nil || list.Empty() {
		return view, err
	}
	a := &admitter{list, view, map[keyring.PublicKey]bool{view.PublicKey: true, view.NextPublicKey: true}, how}
	for i := range view.Peers {
		a.has[view.Peers[i].PublicKey], a.has[view.Peers[i].NextPublicKey] = true, true
	}
	mine := *view
	mine.Peers = slices.Clone(view.Peers)
	if how != DropOld { // the key file decides which key the host itself uses
		err = a.keys(view.Host, &mine.PublicKey, &mine.NextPublicKey)
	}
	for i := 0; i < len(mine.Peers) && err == nil; i++ {
		p := &mine.Peers[i]
		err = a.keys(p.Name, &p.PublicKey, &p.NextPublicKey)
	}
	switch {
	case err != nil:
		return nil, &apply.Refusal{Err: err}
	case slices.EqualFunc(mine.Peers, view.Peers, sameKeys) && mine.PublicKey == view.PublicKey &&
		mine.NextPublicKey == view.NextPublicKey:
		return view, nil
	}
	return &mine, nil
}

func sameKeys(a, b tunnel.Peer) bool {
	return a.PublicKey == b.PublicKey && a.NextPublicKey == b.NextPublicKey
}

// keys checks the keys of one host. In the middle of a rotation it has two; if the present
// one was replaced already, only the next one is left.
func (a *admitter) keys(host string, key, next *keyring.PublicKey) error {
	_, replaced := a.By(*key)
	known := !a.outdated(*key) && !a.outdated(*next)
	switch {
	case next.IsZero() && known && !a.Stolen(*key):
		return nil
	case !next.IsZero() && known && !a.Stolen(*next):
		if replaced || a.Stolen(*key) {
			*key, *next = *next, keyring.PublicKey{}
		}
		return nil
	case a.how == DropOld:
		*key, *next = kept.Nobody(*key), keyring.PublicKey{}
		return nil
	case a.Stolen(*key) || a.Stolen(*next):
		return fault.NewHost("will not accept the revoked key of host", host,
			"wgkeys rotate --now had it refused here, and the view has no other one",
			"git pull, then wgkeys apply "+a.view.Host+"; if there is nothing newer: wgkeys rotate --now "+host)
	case a.how == AllowOld:
		return nil
	}
	by, _ := a.By(*key)
	if !a.outdated(*key) {
		by, _ = a.By(*next)
	}
	return fault.NewHost("the view is older than this machine: it has an old key of host", host,
		"it is "+key.String()+", and "+by.String()+" took its place here",
		"git pull, then wgkeys apply "+a.view.Host+"; if nobody has the newer key: wgkeys rotate --unknown "+host+
			"; if the older one is right: wgkeys apply --unknown "+a.view.Host)
}

// outdated reports whether a key was replaced by one that the view does not have.
func (a *admitter) outdated(key keyring.PublicKey) bool {
	by, replaced := a.By(key)
	return replaced && !a.has[by]
}

// Replaces reports whether a plan may replace keys: a peer is removed, or the key of the
// host itself changes.
func Replaces(plan *apply.Plan) bool {
	return slices.ContainsFunc(plan.Steps, func(s apply.Step) bool {
		switch c := s.Change.(type) {
		case apply.PeerChange:
			return c.New == nil
		case apply.DeviceChange:
			return true
		}
		return false
	})
}
