package session

import (
	"context"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// PlanTakeOver plans for view, starting from what another program has made, as if wgkeys
// had made it. It writes nothing, see [Session.TakeOver].
func (s *Session) PlanTakeOver(ctx context.Context, view *tunnel.View) (*apply.Plan, *apply.Adopted, error) {
	view, err := admit(view, s.Old)
	if err != nil {
		return nil, nil, err
	}
	state, others, err := s.observe(ctx, view.Tunnel, view)
	if err != nil {
		return nil, nil, err
	}
	was, err := apply.Adopt(view, state, s.mine)
	if err != nil {
		return nil, nil, err
	}
	if err := keyIsThere(view); err != nil {
		return nil, nil, err
	}
	plan, err := s.make(view, state, others)
	return plan, was, err
}

// keyIsThere requires the private key in its file: the kernel has it now, but not after the
// next boot.
func keyIsThere(view *tunnel.View) error {
	key, err := wg.ReadPrivateKey(view.PrivateKeyFile, view.Host)
	if err != nil {
		return err
	}
	if key.PublicKey() != view.PublicKey {
		return fault.NewFile("another key is in", view.PrivateKeyFile, "it is not that of the tunnel that runs",
			"wgkeys push "+view.Host)
	}
	return nil
}

// TakeOver records in the journal what the last [Session.PlanTakeOver] found.
func (s *Session) TakeOver() error { return s.mine.Save() }

// Has reports whether the interface of a tunnel exists.
func (s *Session) Has(name string) bool {
	_, err := s.LinkIndex(name)
	return err == nil
}

// PlanGiveBack plans how to restore what was taken over.
func (s *Session) PlanGiveBack(ctx context.Context, name string, was *apply.Adopted) (*apply.Plan, error) {
	view, err := kept.View(name)
	if err != nil {
		return nil, err
	}
	applied := view
	if view == nil { // addresses and routes are observed nevertheless
		view = &tunnel.View{Tunnel: name}
	}
	state, others, err := s.observe(ctx, name, view)
	if err != nil {
		return nil, err
	}
	if applied != nil {
		if why := was.Outdated(applied, state); why != "" {
			return nil, fault.New("will not give back the tunnel", name,
				why+", and the files that were put aside have the old one",
				"wgkeys export --secret "+applied.Host+" writes such a file as it is now; wgkeys down -t "+name+
					", then bring it up with that")
		}
	}
	return apply.GiveBack(name, state, s.mine, others, was), nil
}
