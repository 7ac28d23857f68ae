// Package hold keeps the packets that go into a tunnel's interface for a moment, while
// its key is being changed, and lets them go again at the pace at which they came.
package hold

import userspace "wgkeys/deploy/apply/linux/device"

// A Hold keeps the packets that go into an interface before they reach it, and
// lets them go in their order: more of them than WireGuard's own queue takes.
// A device of ours can do it, and the kernel where it has nft_queue.
type Hold interface {
	Begin() error // hold what is sent from now on
	End() error   // let all go; without Begin it only gives everything back
}

// New makes everything ready. It fails where packets cannot be held.
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

// Try tries whether packets can be held on this host, and says why not.
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

// A deviceHold is done by a device of ours, whose End it has.
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
