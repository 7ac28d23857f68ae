package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// keyStaysGone: the command fails, says so, and no host has taken key.
func keyStaysGone(u *labtest.Users, command, says, key string) {
	u.Helper()
	r := u.Run(u.Basalt, command)
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, says) {
		u.Errorf("%s: exit %d, want %q\n%s%s", command, r.Code, says, r.Stdout, r.Stderr)
	}
	if strings.Contains(u.Must(u.Basalt, "wg show wg0 peers")+u.Must(u.Shale, "wg show wg0"), key) {
		u.Errorf("%s: the key that was replaced is back", command)
	}
}

// rotationBehindApply: no verb from a clone that is behind brings a key back, neither on
// its host nor at a peer.
func rotationBehindApply(t *testing.T, u *labtest.Users) {
	old := publicKeyOf(u, "shale")
	u.Must(u.Basalt, "cp -a /root/net /root/behind && wgkeys rotate -y shale")
	const older, git = `the view is older than this machine: it has a key that was replaced, of host "shale"`, "git pull, then wgkeys apply "
	for _, host := range []string{"basalt", "shale"} {
		keyStaysGone(u, "wgkeys plan -C /root/behind "+host, older, old)
		keyStaysGone(u, "wgkeys apply -C /root/behind "+host, git+host, old)
		keyStaysGone(u, "wgkeys apply --confirm 20s -C /root/behind "+host, older, old)
	}
	keyStaysGone(u, "wgkeys push -C /root/behind shale", "the repository may be behind", old)
	r := u.Run(u.Basalt, "wgkeys status -C /root/behind")
	if r.Code != ui.ExitFindings || !strings.Contains(r.Stdout, "git pull") || strings.Contains(r.Stdout, "wgkeys push") {
		t.Errorf("status: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	tunnelIsWhole(u, t)

	// Keys that no rotate has replaced: the applies did.
	u.Must(u.Basalt, "rm -r /root/behind && cp -a /root/net /root/behind")
	old = publicKeyOf(u, "shale")
	u.Must(u.Basalt, "rm keyring/shale/wg0.pub vault/shale/wg0.key.age && wgkeys gen shale && wgkeys push --unknown shale && wgkeys apply shale && wgkeys apply basalt")
	keyStaysGone(u, "wgkeys apply -C /root/behind basalt", older, old)
	keyStaysGone(u, "wgkeys push -C /root/behind shale", "the repository may be behind", old)

	// Who knows better says so.
	u.Must(u.Basalt, "wgkeys push --unknown -C /root/behind shale && wgkeys apply --unknown -C /root/behind shale && wgkeys apply --unknown -C /root/behind basalt")
	u.Must(u.Basalt, "cd / && rm -r /root/net && mv /root/behind /root/net && cd /root/net && wgkeys apply shale && wgkeys apply basalt")
	tunnelIsWhole(u, t)
}

// rotationBehindStolen: nothing brings a stolen key back, whoever says so, nor a boot.
func rotationBehindStolen(t *testing.T, u *labtest.Users) {
	stolen := publicKeyOf(u, "shale")
	u.Must(u.Basalt, "cp -a /root/net /root/behind && cp /etc/wgkeys/wg0.view /root/kept && wgkeys rotate --now -y shale")
	settledWithout(u, t, u.Shale, stolen)
	for _, command := range []string{"apply", "apply --unknown", "plan"} {
		keyStaysGone(u, "wgkeys "+command+" -C /root/behind basalt", `will not take the key that was revoked of host "shale"`, stolen)
	}
	now := publicKeyOf(u, "shale")
	keyStaysGone(u, "wgkeys rotate -y --now -C /root/behind shale", `this repository does not know the key in use on host "shale"`, stolen)
	if peers := u.Must(u.Basalt, "wg show wg0 peers"); !strings.Contains(peers, now) {
		t.Error("the key that is in use is not taken any more")
	}
	u.Must(u.Basalt, "rm -r /root/behind; wgkeys apply basalt; wgkeys push --unknown shale; wgkeys apply --unknown shale; cp /root/kept /etc/wgkeys/wg0.view && wgkeys apply --kept")
	if peers := u.Must(u.Basalt, "wg show wg0 peers"); strings.Contains(peers, stolen) {
		t.Error("the view of before has brought the stolen key back")
	}
	u.Must(u.Basalt, "wgkeys apply basalt && wgkeys apply shale")
	tunnelIsWhole(u, t)
}
