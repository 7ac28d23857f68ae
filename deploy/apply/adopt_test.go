package apply_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/tunnel"
)

// adopt has the host's wgkeys forget a tunnel, as if another program had made it, and
// take it over. It returns what the take-over found.
func (h *host) adopt(t testing.TB, v *tunnel.View) *apply.Adopted {
	t.Helper()
	if err := os.RemoveAll(h.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mine, _ := h.journal(t, v.Tunnel)
	state, err := h.Observe(context.Background(), v.Tunnel, v, mine.Entries)
	if err != nil {
		t.Fatal(err)
	}
	was, err := apply.Adopt(v, state, mine)
	if err != nil {
		t.Fatal(err)
	}
	if err := mine.Save(); err != nil {
		t.Fatal(err)
	}
	return was
}

// giveBack gives the tunnel back, and returns the plan.
func (h *host) giveBack(t testing.TB, v *tunnel.View, was *apply.Adopted) *apply.Plan {
	t.Helper()
	mine, others := h.journal(t, v.Tunnel)
	state, err := h.Observe(context.Background(), v.Tunnel, v, mine.Entries)
	if err != nil {
		t.Fatal(err)
	}
	plan := apply.GiveBack(v.Tunnel, state, mine, others, was)
	if err := apply.RunDown(context.Background(), h.kernel, mine, plan, func(apply.Step) {}); err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestAdoptAnyPair: of a tunnel that is as the view has it nothing is to be done but for
// what the journal alone knows, and after another view of the same keys it is given back
// with all that it had: addresses, routes, rules and the mark, and nothing that was added.
func TestAdoptAnyPair(t *testing.T) {
	for seed := range seeds(t) / 4 {
		r := random(seed)
		a, b := applytest.View(r, "wg0"), applytest.View(r, "wg0")
		b.PublicKey, b.PrivateKeyFile = a.PublicKey, a.PrivateKeyFile
		h := newHost(t)
		h.apply(t, a)
		if h.links["wg0"].device.PublicKey != a.PublicKey {
			continue
		}
		before := h.dump()
		was := h.adopt(t, a)
		plan, _ := h.plan(t, a)
		for _, s := range plan.Steps {
			switch s.Change.(type) {
			case apply.AddressChange, apply.RouteChange, apply.RuleChange, apply.PeerChange, apply.LinkChange:
				t.Errorf("seed %d: to be done again: %s", seed, s.Change)
			}
		}
		h.giveBack(t, a, was)
		if d := diff(before, h.dump()); d != "" {
			t.Errorf("seed %d: given back at once:\n%s", seed, d)
		}
		was = h.adopt(t, a)
		h.apply(t, b)
		back := h.giveBack(t, b, was)
		if d := diff(plumbing(before), plumbing(h.dump())); d != "" {
			t.Errorf("seed %d: not given back:\n%s%s", seed, d, spelled(back))
		}
		if t.Failed() {
			return
		}
	}
}

// plumbing are the lines of a dump that lead packets into the tunnel.
func plumbing(dump []string) []string {
	return slices.DeleteFunc(slices.Clone(dump), func(line string) bool {
		return !strings.HasPrefix(line, "ip address") && !strings.HasPrefix(line, "ip rule") &&
			(!strings.HasPrefix(line, "ip route") || strings.Contains(line, "unreachable"))
	})
}
