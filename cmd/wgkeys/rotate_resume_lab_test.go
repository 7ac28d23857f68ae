package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// What an earlier rotation has left decides what the next one does.
func TestLabRotateResumes(t *testing.T) {
	t.Parallel() // it waits most of the time
	u := labtest.NewUsers(t)
	for _, l := range []struct {
		name string
		run  func(*testing.T, *labtest.Users)
	}{{"KilledBetween", rotationKilledBetween}, {"StolenWithNext", rotationStolenWithNext},
		{"StolenWhileWatched", rotationStolenWhileWatched}} {
		t.Run(l.name, func(t *testing.T) {
			u := u.With(t)
			u.Must(u.Basalt, "wgkeys apply basalt && wgkeys apply shale")
			l.run(t, u)
		})
	}
}

// rotationKilledBetween: killed between the two renames that end a rotation. A dry run
// changes nothing, and the next run finishes this one and begins no other.
func rotationKilledBetween(t *testing.T, u *labtest.Users) {
	u.Must(u.Basalt, `cp keyring/basalt/wg0.pub /tmp/old.pub && wgkeys rotate -y basalt &&
		mv keyring/basalt/wg0.pub keyring/basalt/wg0.next.pub && cp /tmp/old.pub keyring/basalt/wg0.pub`)
	live, repo := u.Must(u.Basalt, "wg show wg0 public-key"), repositoryFiles(u)
	if r := u.Run(u.Basalt, "wgkeys rotate -n basalt"); r.Code != ui.ExitFindings {
		t.Errorf("exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if repositoryFiles(u) != repo {
		t.Error("a dry run has changed the repository")
	}
	u.Must(u.Basalt, "wgkeys rotate -y basalt")
	if now := u.Must(u.Basalt, "wg show wg0 public-key"); now != live ||
		publicKeyOf(u, "basalt") != strings.TrimSpace(live) {
		t.Errorf("the key in use was %s and is %s, the keyring has %s", live, now, publicKeyOf(u, "basalt"))
	}
	tunnelIsWhole(u, t)
}

// rotationStolenWithNext: a next key has waited on the host, in the clear, since a
// rotation that went back. Whoever stole the key has that one too.
func rotationStolenWithNext(t *testing.T, u *labtest.Users) {
	u.Must(u.Shale, `nft 'add table inet block; add chain inet block in { type filter hook input priority 0; };
		add rule inet block in udp dport 30567 @th,64,8 1 drop'`) // handshake initiations
	r := u.Run(u.Basalt, "wgkeys rotate -y basalt")
	u.Must(u.Shale, "nft delete table inet block")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "it uses the old one again") {
		t.Fatalf("exit %d\n%s", r.Code, r.Stderr)
	}
	stolen := []string{publicKeyOf(u, "basalt"),
		strings.TrimSpace(u.Must(u.Basalt, "wg pubkey </etc/wireguard/wg0.next.key"))}
	u.Must(u.Basalt, "wgkeys rotate -y --now basalt")
	now := publicKeyOf(u, "basalt")
	for _, key := range stolen {
		if now == key || strings.Contains(u.Must(u.Shale, "wg show wg0 peers"), key) {
			t.Errorf("the stolen key %s is still good", key)
		}
	}
	deadline := time.Now().Add(labtest.Patience)
	for u.Run(u.Basalt, "wg show wg0 public-key | grep -qF "+now).Code != 0 && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
	}
	tunnelIsWhole(u, t)
}

// rotationStolenWhileWatched: a controller was lost after it had armed a watch for
// the key that turns out to be stolen. The watch does not keep the old key good.
func rotationStolenWhileWatched(t *testing.T, u *labtest.Users) {
	stolen, next := publicKeyOf(u, "basalt"), mustKey(t)
	u.Must(u.Shale, fmt.Sprintf(`echo '{"protocol":2,"do":"watch","tunnel":"wg0","host":"basalt","key_file":"/etc/wireguard/wg0.key",
		"old":%q,"next":%q,"within":60000000000}' | wgkeys turn | grep -v fault`, stolen, next))
	begin := time.Now()
	u.Must(u.Basalt, "wgkeys rotate -y --now basalt")
	t.Logf("%v", time.Since(begin).Round(time.Millisecond))
	if peers := u.Must(u.Shale, "wg show wg0 peers"); strings.Contains(peers, stolen) ||
		strings.Contains(peers, next.String()) {
		t.Errorf("shale has the peers %s", peers)
	}
	tunnelIsWhole(u, t)
}
