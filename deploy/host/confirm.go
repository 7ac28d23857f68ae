package host

import (
	"context"
	"fmt"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/host/session"
	"wgkeys/keyring/fault"
)

// Confirm keeps an apply before it is undone: the one with the token of the options, or any
// if that is "". It reports whether one waited.
func Confirm(ctx context.Context, name string, o Options) (waited bool, err error) {
	h := &Host{o: o}
	unlock, err := journal.Lock(ctx, linux.RunDir, h.waiting)
	if err != nil {
		return false, err
	}
	defer unlock()
	p, err := journal.ReadPending(linux.RunDir, name)
	if err != nil {
		return false, err
	}
	if p == nil {
		return false, confirmNone(name, o.Token)
	}
	switch {
	case o.Token != "" && o.Token != p.Token:
		return false, fault.New("another apply waits to be confirmed on tunnel", name,
			"somebody has applied since, and this command's apply was reverted or confirmed before", "wgkeys plan -t "+name)
	case p.Damaged:
		return false, fault.New("cannot confirm the apply on tunnel", name,
			"the file of the pending apply is damaged, so it is undone", "wgkeys apply -t "+name)
	case !p.Done:
		return false, fault.New("cannot confirm the apply on tunnel", name,
			fmt.Sprintf("it did not get to its end, and is undone in %d s", max(0, int(p.Left().Seconds())+1)),
			"wgkeys plan -t "+name)
	case p.Left() <= 0: // whoever undoes it may be slow
		return false, fault.New("too late to confirm the apply on tunnel", name, "its time is over, and it is undone",
			"wgkeys plan -t "+name)
	}
	if err := kept.NoteReplaced(p.After); err != nil {
		return true, err
	}
	if err := keep(name, View(p.After), h.warn); err != nil {
		return true, err
	}
	return true, session.Confirm(name, p)
}

// confirmNone is for a tunnel on which no apply waits: the one with the token must have
// been confirmed before, and without a token the last one must not have been undone.
func confirmNone(name, token string) error {
	switch {
	case token == "" && !session.LastReverted(name):
		return nil
	case token == "", session.Reverted(name, token):
		return fault.New("too late to confirm the apply on tunnel", name, "it was undone", "wgkeys apply -t "+name)
	case !session.Confirmed(name, token):
		return fault.New("cannot confirm the apply on tunnel", name, "it was not begun, or not finished",
			"wgkeys plan -t "+name)
	}
	return nil
}
