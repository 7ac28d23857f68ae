package linux_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// TestRekey: after a rotation the host's view and journal have the new keys, and are
// otherwise unchanged. Doing it twice is harmless.
func TestRekey(t *testing.T) {
	h := newHost(t)
	for _, dir := range []string{linux.RunDir, kept.Dir} {
		must(t, os.MkdirAll(dir, 0o755))
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	}
	h.journals = linux.RunDir
	own, peer := applytest.PublicKey("shale"), applytest.PublicKey("basalt")
	ownNext, peerNext := applytest.PublicKey(applytest.Own[1]), applytest.PublicKey("basalt, next")
	v := &tunnel.View{Tunnel: "wg0", Host: "shale", PublicKey: own, NextPublicKey: ownNext,
		PrivateKeyFile: "/etc/wireguard/wg0.key",
		Peers: []tunnel.Peer{
			{Name: "basalt", PublicKey: peer, NextPublicKey: peerNext, AllowedIPs: applytest.Prefixes("10.0.0.2/32")},
			{Name: "chert", PublicKey: applytest.PublicKey("chert"), AllowedIPs: applytest.Prefixes("10.0.0.3/32")},
		}}
	promoted := func() error { return nil }
	must(t, kept.RekeyOwn("wg0", ownNext, promoted)) // where nothing is kept there is nothing to do
	if _, err := os.Stat(kept.Path("wg0")); err == nil {
		t.Error("a view was made from nothing")
	}
	plan, j := h.plan(t, v)
	must(t, apply.Run(t.Context(), h.Kernel, j, plan, func(apply.Step) {}))
	var text bytes.Buffer
	must(t, tunnel.EncodeView(&text, v))
	must(t, os.WriteFile(kept.Path("wg0"), text.Bytes(), 0o644))

	want := *v
	want.Peers = slices.Clone(v.Peers)
	want.PublicKey, want.NextPublicKey = ownNext, v.Peers[1].NextPublicKey
	want.Peers[0].PublicKey, want.Peers[0].NextPublicKey = peerNext, v.Peers[1].NextPublicKey
	text.Reset()
	must(t, tunnel.EncodeView(&text, &want))
	for range 2 {
		must(t, kept.RekeyPeer(t.Context(), "wg0", peer, peerNext))
		must(t, kept.RekeyOwn("wg0", ownNext, promoted))
		kept, err := os.ReadFile(kept.Path("wg0"))
		must(t, err)
		if !bytes.Equal(kept, text.Bytes()) {
			t.Errorf("the kept view is\n%s", kept)
		}
		j, err := journal.Open(linux.RunDir, "wg0")
		must(t, err)
		_, old := j.Entries[journal.OfPeer(peer)]
		_, is := j.Entries[journal.OfPeer(peerNext)]
		if old || !is {
			t.Errorf("the journal knows %v", j.Order)
		}
	}
	if left, _ := filepath.Glob(kept.Dir + "/.*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A host that reboots while its next key is moved to the key file finds a view that accepts
// either key: the file decides.
func TestRekeyOwnRebooted(t *testing.T) {
	newHost(t)
	for _, dir := range []string{linux.RunDir, kept.Dir} {
		must(t, os.MkdirAll(dir, 0o755))
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	}
	old, next := applytest.PublicKey("shale"), applytest.PublicKey(applytest.Own[1])
	var text bytes.Buffer
	must(t, tunnel.EncodeView(&text, &tunnel.View{Tunnel: "wg0", Host: "shale", PublicKey: old,
		PrivateKeyFile: "/etc/wireguard/wg0.key"}))
	must(t, os.WriteFile(kept.Path("wg0"), text.Bytes(), 0o644))
	died := errors.New("the host rebooted")
	for _, file := range []keyring.PublicKey{old, next} { // before the file is another, and after
		err := kept.RekeyOwn("wg0", next, func() error { return died })
		if !errors.Is(err, died) {
			t.Fatal(err)
		}
		v, err := kept.View("wg0")
		must(t, err)
		state := &apply.State{KeyFiles: map[string]apply.KeyFile{v.PrivateKeyFile: {PublicKey: file}}}
		if got := apply.Follow(v, state).PublicKey; got != file {
			t.Errorf("the key file holds %s, and the next boot wants %s", file, got)
		}
	}
}
