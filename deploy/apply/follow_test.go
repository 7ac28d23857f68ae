package apply_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// inRotation is shale's view, or basalt's, while the hosts of these names change
// their keys.
func inRotation(t testing.TB, host string, names ...string) *tunnel.View {
	t.Helper()
	v := view(t, beforeChange, host, nil)
	next := map[string]keyring.PublicKey{}
	for _, name := range names {
		next[name] = publicKey(name + ", new")
	}
	if err := errors.Join(v.SetNext(next), v.Validate()); err != nil {
		t.Fatal(err)
	}
	return v
}

// stage adds a peer as a rotation does: with nothing allowed to it.
func (h *host) stage(key keyring.PublicKey) {
	h.links["wg0"].peers[key] = &apply.Peer{PublicKey: key, PSK: "random"}
}

// takeOver moves all that old is allowed to the new key, with its endpoint.
func (h *host) takeOver(old, fresh keyring.PublicKey) {
	l := h.links["wg0"]
	was := *l.peers[old]
	was.PublicKey = fresh
	l.peers[fresh] = &was
	for prefix, owner := range l.allowed {
		if owner == old {
			l.allowed[prefix] = fresh
		}
	}
}

// TestFollow shows what an apply in the middle of a rotation does, on the host
// that changes its key and on its peers, before and after they have changed.
func TestFollow(t *testing.T) {
	chert, chertNew := publicKey("chert"), publicKey("chert, new")
	shale, shaleNew := publicKey("shale"), publicKey("shale, new")
	tests := []struct {
		name, host string
		who        string // is changing its key
		live       func(h *host)
		steps      bool              // the plan is not empty
		own, peer  keyring.PublicKey // in use afterwards, where not the old one
	}{
		{name: "peer, before it", host: "shale", who: "chert", live: func(*host) {}},
		{name: "peer, staged", host: "shale", who: "chert", steps: true, live: func(h *host) { h.stage(chertNew) }},
		{name: "peer, changed and not yet proved", host: "shale", who: "chert", peer: chertNew,
			live: func(h *host) { h.takeOver(chert, chertNew) }},
		{name: "peer, changed, the old one gone", host: "shale", who: "chert", peer: chertNew,
			live: func(h *host) { h.takeOver(chert, chertNew); h.removePeer(h.links["wg0"], chert) }},
		{name: "peer with an endpoint, changed, the old one gone", host: "basalt", who: "shale", peer: shaleNew,
			live: func(h *host) { h.takeOver(shale, shaleNew); h.removePeer(h.links["wg0"], shale) }},
		{name: "peer, changed, and lost a prefix", host: "shale", who: "chert", steps: true, peer: chertNew,
			live: func(h *host) {
				h.takeOver(chert, chertNew)
				delete(h.links["wg0"].allowed, netip.MustParsePrefix("10.0.0.3/32"))
			}},
		{name: "own, before it", host: "shale", who: "shale", live: func(*host) {}},
		{name: "own, changed", host: "shale", who: "shale", own: shaleNew,
			live: func(h *host) { h.links["wg0"].device.PublicKey = shaleNew }},
		{name: "own, not up, the key file is the next", host: "shale", who: "shale", steps: true, own: shaleNew,
			live: func(h *host) { h.down(t, "wg0"); h.fileHolds(shaleNew) }},
		{name: "own, not up, the key file is the old", host: "shale", who: "shale", steps: true,
			live: func(h *host) { h.down(t, "wg0") }},
		{name: "own, the key file is the next, and the device has the old", host: "shale", who: "shale",
			live: func(h *host) { h.fileHolds(shaleNew) }},
	}
	archive := &txtar.Archive{Comment: []byte("What apply does in the middle of a rotation.\n" +
		"go test ./deploy/apply -run TestFollow -update\n")}
	for _, test := range tests {
		h := newHost(t)
		h.apply(t, inRotation(t, test.host))
		test.live(h)
		before := h.kernel.clone()
		v := inRotation(t, test.host, test.who)
		plan, j := h.planOf(t, v)
		if (len(plan.Steps) > 0) != test.steps {
			t.Errorf("%s: %d steps", test.name, len(plan.Steps))
		}
		checkFollowed(t, test.name, v, plan.View, test.own, test.peer)
		if err := apply.Run(t.Context(), h.kernel, j, plan, func(apply.Step) {}); err != nil {
			t.Fatal(err)
		}
		if again, _ := h.planOf(t, v); len(again.Steps) > 0 {
			t.Errorf("%s: the second plan is not empty:\n%s", test.name, spelled(again))
		}
		if kept, _ := h.planOf(t, plan.View); slices.ContainsFunc(kept.Steps, isKey) {
			t.Errorf("%s: the view kept for the next boot changes keys:\n%s", test.name, spelled(kept))
		}
		archive.Files = append(archive.Files, txtar.File{Name: test.host + ": " + test.name,
			Data: []byte(spelled(plan) + "\n" + diff(before.dump(), h.dump()))})
	}
	golden(t, "rotation.txtar", archive)
}

// fileHolds puts a key into the key file.
func (h *host) fileHolds(key keyring.PublicKey) {
	h.keyFiles["/etc/wireguard/wg0.key"] = apply.KeyFile{PublicKey: key}
}

// planOf is what apply would do now, with the key file as it is.
func (h *host) planOf(t testing.TB, v *tunnel.View) (*apply.Plan, *journal.Journal) {
	t.Helper()
	j, others := h.journal(t, v.Tunnel)
	state, err := h.Observe(t.Context(), v.Tunnel, v, j.Entries)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := apply.Make(v, state, j, others)
	if err != nil {
		t.Fatal(err)
	}
	return plan, j
}

// isKey: a step that sets the host's own key, but for the first time.
func isKey(s apply.Step) bool {
	c, ok := s.Change.(apply.DeviceChange)
	return ok && c.Old.PublicKey != c.New.PublicKey
}

func checkFollowed(t *testing.T, name string, asked, got *tunnel.View, own, peer keyring.PublicKey) {
	t.Helper()
	if err := got.Validate(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if own.IsZero() {
		own = asked.PublicKey
	}
	if got.PublicKey != own || got.NextPublicKey == own {
		t.Errorf("%s: its own key is %s, and the next one %s", name, readable(got.PublicKey.String()),
			readable(got.NextPublicKey.String()))
	}
	for i, p := range asked.Peers {
		want := p
		if !peer.IsZero() && p.NextPublicKey == peer {
			want.PublicKey, want.NextPublicKey = peer, keyring.PublicKey{}
		}
		if q := got.Peers[i]; q.PublicKey != want.PublicKey || q.NextPublicKey != want.NextPublicKey {
			t.Errorf("%s: peer %s has %s", name, p.Name, readable(q.PublicKey.String()))
		}
	}
}

// TestFollowAnyView: in any view, while any of its hosts change their keys and
// each is anywhere on the way, apply takes no key away that is in use, and leaves
// nothing to do.
func TestFollowAnyView(t *testing.T) {
	replaced := 0
	for seed := range seeds(t) {
		r := random(seed)
		h := newHost(t)
		v := applytest.View(r, "wg0")
		h.apply(t, v)
		l := h.links["wg0"]
		origin := l.device.PublicKey
		next, uses := h.rotateSome(r, v)
		for _, p := range v.Peers {
			if uses[p.Name] != p.PublicKey {
				replaced++
			}
		}
		own := r.IntN(3)
		if own > 0 {
			next["shale"] = publicKey("shale, next")
		}
		if own == 2 {
			origin = next["shale"]
			l.device.PublicKey = origin
		}
		if err := errors.Join(v.SetNext(next), v.Validate()); err != nil {
			t.Fatal(err)
		}
		plan, j := h.planOf(t, v)
		h.hook = func(m moment, _ int, c apply.Change) error {
			if m == after {
				h.usesKeys(t, c, origin, uses, v)
			}
			return nil
		}
		if err := apply.Run(t.Context(), h.kernel, j, plan, func(apply.Step) {}); err != nil {
			t.Fatal(err)
		}
		h.hook = nil
		for _, s := range plan.Steps {
			if !strings.HasPrefix(s.Why, "left behind by a rotation") {
				t.Errorf("%s  # %s", s.Change, s.Why)
			}
		}
		if again, _ := h.planOf(t, v); len(again.Steps) > 0 {
			t.Errorf("the second plan is not empty:\n%s", spelled(again))
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if replaced < seeds(t)/4 {
		t.Errorf("only %d peers had changed", replaced)
	}
}

// rotateSome has some of the peers change their keys, each as far as it happens to be:
// the next key is known, staged, in use, or the only one. It returns the next keys, and
// those that are in use.
func (h *host) rotateSome(r *rand.Rand, v *tunnel.View) (next, uses map[string]keyring.PublicKey) {
	next, uses = map[string]keyring.PublicKey{}, map[string]keyring.PublicKey{}
	for _, p := range v.Peers {
		uses[p.Name] = p.PublicKey
		if r.IntN(2) == 0 {
			continue
		}
		k := publicKey(p.Name + ", next")
		next[p.Name] = k
		switch at := r.IntN(4); {
		case at == 0:
			h.stage(k)
		case at >= 2 && len(p.AllowedIPs) > 0:
			h.takeOver(p.PublicKey, k)
			uses[p.Name] = k
			if at == 3 {
				h.removePeer(h.links["wg0"], p.PublicKey)
			}
		}
	}
	return next, uses
}

func (h *host) usesKeys(t *testing.T, c apply.Change, own keyring.PublicKey, uses map[string]keyring.PublicKey,
	v *tunnel.View) {
	l := h.links["wg0"]
	if l.device.PublicKey != own {
		t.Errorf("after %s: the host has lost its key", c)
	}
	for _, p := range v.Peers {
		for _, prefix := range p.AllowedIPs {
			if l.allowed[prefix] != uses[p.Name] || l.peers[uses[p.Name]] == nil {
				t.Errorf("after %s: peer %s has lost %s", c, p.Name, prefix)
			}
		}
	}
}

// TestRekey: after a rotation the journal knows the peer by its new key, and
// apply removes it when it is not a peer any more, as it would have before.
func TestRekey(t *testing.T) {
	chert, fresh := publicKey("chert"), publicKey("chert, new")
	h := newHost(t)
	h.apply(t, view(t, beforeChange, "shale", nil))
	h.takeOver(chert, fresh)
	h.removePeer(h.links["wg0"], chert)
	for range 2 { // the second has nothing to do
		j, _ := h.journal(t, "wg0")
		if err := j.Rename(journal.OfPeer(chert), journal.OfPeer(fresh)); err != nil {
			t.Fatal(err)
		}
		checkReopened(t, h, j)
	}
	text, err := os.ReadFile(h.dir + "/wg0.journal")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(readable(string(text)), "\n")
	want := []string{"+\tpeer (chert, new)\t\t" + "-", "-\tpeer (chert)", ""}
	if got := lines[len(lines)-3:]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the journal ends in %q", got)
	}
	v := view(t, beforeChange, "shale", map[string]string{"chert": "chert, new"})
	if plan, _ := h.plan(t, v); len(plan.Steps) > 0 {
		t.Errorf("the plan after the rotation is not empty:\n%s", spelled(plan))
	}
	plan := h.apply(t, view(t, strings.Split(beforeChange, "[hosts.chert]")[0], "shale", nil))
	if h.links["wg0"].peers[fresh] != nil {
		t.Errorf("the peer stays:\n%s", spelled(plan))
	}
}

// TestRekeyCrash: killed between any two bytes of it, the journal knows the peer
// by one key or by both, and another Rekey finishes.
func TestRekeyCrash(t *testing.T) {
	chert, fresh := publicKey("chert"), publicKey("chert, new")
	h := newHost(t)
	h.apply(t, view(t, beforeChange, "shale", nil))
	path := h.dir + "/wg0.journal"
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rekey := func() journal.Entries {
		j, _ := h.journal(t, "wg0")
		if err := j.Rename(journal.OfPeer(chert), journal.OfPeer(fresh)); err != nil {
			t.Fatal(err)
		}
		return j.Entries
	}
	want := fmt.Sprint(rekey())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole) <= len(before) {
		t.Fatal("nothing was written")
	}
	for n := len(before); n <= len(whole); n++ {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j, _ := h.journal(t, "wg0")
		_, old := j.Entries[journal.OfPeer(chert)]
		_, is := j.Entries[journal.OfPeer(fresh)]
		if !old && !is {
			t.Errorf("cut off after %d bytes it knows neither", n-len(before))
		}
		if got := fmt.Sprint(rekey()); got != want {
			t.Errorf("cut off after %d bytes, it ends as %s", n-len(before), got)
		}
	}
}
