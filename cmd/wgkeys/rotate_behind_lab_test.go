package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/ui"
)

// stays: the command fails, says so, and no host has taken key.
func (u *users) stays(command, says, key string) {
	u.t.Helper()
	r := u.run(u.Basalt, command)
	if r.code != ui.ExitFailed || !strings.Contains(r.stderr, says) {
		u.t.Errorf("%s: exit %d, want %q\n%s%s", command, r.code, says, r.stdout, r.stderr)
	}
	if strings.Contains(u.must(u.Basalt, "wg show wg0 peers")+u.must(u.Shale, "wg show wg0"), key) {
		u.t.Errorf("%s: the key that was replaced is back", command)
	}
}

// rotationBehindApply: no verb from a clone that is behind brings a key back, neither on
// its host nor at a peer.
func rotationBehindApply(t *testing.T, u *users) {
	old := u.pub("shale")
	u.must(u.Basalt, "cp -a /root/net /root/behind && wgkeys rotate -y shale")
	const older, git = `the view is older than this machine: it has a key that was replaced, of host "shale"`, "git pull, then wgkeys apply "
	for _, host := range []string{"basalt", "shale"} {
		u.stays("wgkeys plan -C /root/behind "+host, older, old)
		u.stays("wgkeys apply -C /root/behind "+host, git+host, old)
		u.stays("wgkeys apply --confirm 20s -C /root/behind "+host, older, old)
	}
	u.stays("wgkeys push -C /root/behind shale", "the repository may be behind", old)
	r := u.run(u.Basalt, "wgkeys status -C /root/behind")
	if r.code != ui.ExitFindings || !strings.Contains(r.stdout, "git pull") || strings.Contains(r.stdout, "wgkeys push") {
		t.Errorf("status: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	u.whole(t)

	// Keys that no rotate has replaced: the applies did.
	u.must(u.Basalt, "rm -r /root/behind && cp -a /root/net /root/behind")
	old = u.pub("shale")
	u.must(u.Basalt, "rm keyring/shale/wg0.pub vault/shale/wg0.key.age && wgkeys gen shale && wgkeys push --unknown shale && wgkeys apply shale && wgkeys apply basalt")
	u.stays("wgkeys apply -C /root/behind basalt", older, old)
	u.stays("wgkeys push -C /root/behind shale", "the repository may be behind", old)

	// Who knows better says so.
	u.must(u.Basalt, "wgkeys push --unknown -C /root/behind shale && wgkeys apply --unknown -C /root/behind shale && wgkeys apply --unknown -C /root/behind basalt")
	u.must(u.Basalt, "cd / && rm -r /root/net && mv /root/behind /root/net && cd /root/net && wgkeys apply shale && wgkeys apply basalt")
	u.whole(t)
}

// rotationBehindStolen: nothing brings a stolen key back, whoever says so, nor a boot.
func rotationBehindStolen(t *testing.T, u *users) {
	stolen := u.pub("shale")
	u.must(u.Basalt, "cp -a /root/net /root/behind && cp /etc/wgkeys/wg0.view /root/kept && wgkeys rotate --now -y shale")
	u.settled(t, u.Shale, stolen)
	for _, command := range []string{"apply", "apply --unknown", "plan"} {
		u.stays("wgkeys "+command+" -C /root/behind basalt", `will not take the key that was revoked of host "shale"`, stolen)
	}
	now := u.pub("shale")
	u.stays("wgkeys rotate -y --now -C /root/behind shale", `this repository does not know the key in use on host "shale"`, stolen)
	if peers := u.must(u.Basalt, "wg show wg0 peers"); !strings.Contains(peers, now) {
		t.Error("the key that is in use is not taken any more")
	}
	u.must(u.Basalt, "rm -r /root/behind; wgkeys apply basalt; wgkeys push --unknown shale; wgkeys apply --unknown shale; cp /root/kept /etc/wgkeys/wg0.view && wgkeys apply --kept")
	if peers := u.must(u.Basalt, "wg show wg0 peers"); strings.Contains(peers, stolen) {
		t.Error("the view of before has brought the stolen key back")
	}
	u.must(u.Basalt, "wgkeys apply basalt && wgkeys apply shale")
	u.whole(t)
}
