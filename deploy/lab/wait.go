package lab

import (
	"context"
	"strings"
	"time"

	"wgkeys/keyring/fault"
)

const (
	patience = 15 * time.Second // timeout if ctx has no deadline
	interval = 10 * time.Millisecond
)

// Until calls done every 10 ms until it returns true. It returns an error when done does,
// or at ctx's deadline, or after 15 s if there is none. What describes the condition, for
// the error.
func Until(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	start := time.Now()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		ok, err := done(ctx)
		if ok {
			return nil
		}
		if ctx.Err() == nil && err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(ctx.Err(), "waited in vain for "+time.Since(start).Round(time.Second).String()+" for", what, "")
		case <-tick.C:
		}
	}
}

// WaitAddresses waits until the host's links have their addresses and none is tentative, which
// is when duplicate address detection (RFC 4862, section 5.4) has ended.
func (h *Host) WaitAddresses(ctx context.Context) error {
	return Until(ctx, "the addresses of "+h.name, func(ctx context.Context) (bool, error) {
		links, err := h.Run(ctx, "ip", "-oneline", "link", "show", "up")
		if err != nil || comingUp(links) {
			return false, err
		}
		out, err := h.Run(ctx, "ip", "-6", "-oneline", "address", "show", "tentative")
		return strings.TrimSpace(out) == "", err
	})
}

// comingUp reports whether a link has a carrier that the kernel has not acted on: it does so
// later, in a worker of its own, and only then the link is running and has IPv6 addresses, tentative
// ones too (Documentation/networking/operstates.rst). ip(8) says NO-CARRIER of what is not running.
func comingUp(links string) bool {
	for line := range strings.Lines(links) {
		if strings.Contains(line, "LOWER_UP") && strings.Contains(line, "NO-CARRIER") {
			return true
		}
	}
	return false
}

// WaitRoute waits until `ip route show` with the words of selector prints a route. Options
// come first and go before "route":
//
//	h.WaitRoute(ctx, "-6 default proto ra")
func (h *Host) WaitRoute(ctx context.Context, selector string) error {
	args := []string{"ip"}
	words := strings.Fields(selector)
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		args, words = append(args, words[0]), words[1:]
	}
	args = append(append(args, "route", "show"), words...)
	return Until(ctx, "the route "+selector+" on "+h.name, func(ctx context.Context) (bool, error) {
		out, err := h.Run(ctx, args...)
		return strings.TrimSpace(out) != "", err
	})
}
