// Package hold keeps the packets that go into a tunnel's interface for a moment while a key
// is being changed, and releases them at the rate at which they came.
package hold

import userspace "wgkeys/deploy/apply/linux/device"

// A Hold keeps packets before they reach an interface, and releases them in order. It keeps
// more of them than WireGuard's own queue. It needs a user-space device of ours, or a
// kernel with nft_queue.
type Hold interface {
	Begin() error // hold what is sent from now on; a second call does nothing
	End() error   // release everything; without Begin, only close the hold
}

// New prepares a hold on the packets of the link. It returns an error where packets cannot
// be held.
func New(link string) (Hold, error) {
	if h, err := userspace.NewHold(link); err == nil {
		return &deviceHold{Hold: h}, nil
	}
	h, err := newQueue(link)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Try returns an error that says why packets of the link cannot be held, or nil.
func Try(link string) error {
	if h, err := userspace.NewHold(link); err == nil {
		h.End()
		return nil
	}
	q, err := tryQueue(link, tryTable(link))
	if err == nil {
		q.close()
	}
	return err
}

// A deviceHold is a hold in a device of ours.
type deviceHold struct {
	*userspace.Hold
	begun bool
}

func (h *deviceHold) Begin() error {
	if h.begun {
		return nil
	}
	h.begun = true
	return h.Hold.Begin()
}
