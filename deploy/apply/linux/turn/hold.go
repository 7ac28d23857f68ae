package turn

import userspace "wgkeys/deploy/apply/linux/device"

// A hold keeps the packets that go into an interface before they reach it, and
// lets them go in their order: more of them than WireGuard's own queue takes.
// A device of ours can do it, and the kernel where it has nft_queue.
type hold interface {
	begin() error // hold what is sent from now on
	end() error   // let all go; without begin it only gives everything back
}

// newHold makes everything ready. It fails where packets cannot be held.
func newHold(link string) (hold, error) {
	if h, err := userspace.NewHold(link); err == nil {
		return &deviceHold{Hold: h}, nil
	}
	h, err := newQueue(link)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// canHold tries whether packets can be held on this host, and says why not.
func canHold(link string) error {
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

// A deviceHold is done by a device of ours.
type deviceHold struct {
	*userspace.Hold
	begun bool
}

func (h *deviceHold) begin() error {
	if h.begun {
		return nil
	}
	h.begun = true
	return h.Begin()
}

func (h *deviceHold) end() error { return h.End() }
