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
// this host was. Before it is made true the host looks into what it remembers of keys
// that were replaced: a view that has such a key, and not the one that took its place,
// is older than the host.

// An Admission says what is done about a view with keys that were replaced.
type Admission int

const (
	RefuseOld Admission = iota // it is refused
	AllowOld                   // it is taken, but for what was stolen
	DropOld                    // their peers get a key that nobody has: the rest is to come up
)

// An admitter looks at one view.
type admitter struct {
	revoked.List
	view *tunnel.View
	has  map[keyring.PublicKey]bool // all keys of the view
	how  Admission
}

// admit returns view as it may be made true.
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
	if how != DropOld { // which key the host itself has its key file tells
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

// keys looks at the keys of one host. In the middle of a rotation it has two, of which
// the present one may be replaced already: then it is the next one alone.
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
		return fault.New("will not take the key that was revoked of host", host,
			"wgkeys rotate --now had it refused here, and the view has no other one",
			"git pull, then wgkeys apply "+a.view.Host+"; if there is nothing newer: wgkeys rotate --now "+host)
	case a.how == AllowOld:
		return nil
	}
	by, _ := a.By(*key)
	if !a.outdated(*key) {
		by, _ = a.By(*next)
	}
	return fault.New("the view is older than this machine: it has a key that was replaced, of host", host,
		"it is "+key.String()+", and "+by.String()+" took its place here",
		"git pull, then wgkeys apply "+a.view.Host+"; if the older key is right: wgkeys apply --unknown "+a.view.Host)
}

// outdated reports whether a key was replaced by one that the view does not know.
func (a *admitter) outdated(key keyring.PublicKey) bool {
	by, replaced := a.By(key)
	return replaced && !a.has[by]
}

// Replaces reports whether a plan may take a key from a host: a peer goes, or the key of
// the host itself is another one.
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
