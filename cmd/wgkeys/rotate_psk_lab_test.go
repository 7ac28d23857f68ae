package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// TestLabRotatePSK: preshared keys are replaced while a thousand packets a second go
// each way, alone and with the keys, and none is lost. What was killed half way the same
// command finishes; in a clone that is behind it does nothing.
func TestLabRotatePSK(t *testing.T) {
	t.Parallel()
	m := newMesh(t, labtest.MeshOptions{Hosts: 2})
	here, there := m.Hosts[0], m.Hosts[1]
	m.Tunnel("psk = true\n" + m.TunnelFile())
	m.Must(here, "wgkeys gen -q "+here.Name()+" && wgkeys push -q basalt shale && wgkeys apply -q && wgkeys apply -q shale")
	m.Must(here, "ping -6 -n -q -c 1 -w 20 "+m.Inside(there).String())
	m.StartStreams(1000)
	rotations, lost, sent := 3, 0, 0
	if long("rotations") {
		rotations = 200
	}
	seen := map[string]bool{}
	replaced := func(command string) {
		t.Helper()
		for _, toll := range m.During(func() { m.Must(here, command) }) {
			lost, sent = lost+toll.Lost, sent+toll.Sent
		}
		psk := strings.Fields(m.Must(here, "wg show wg0 preshared-keys"))[1]
		if psk != strings.Fields(m.Must(there, "wg show wg0 preshared-keys"))[1] || seen[psk] {
			t.Fatalf("%s: the preshared key is not another one, the same at both ends", command)
		}
		seen[psk] = true
	}
	for n := range rotations {
		replaced("wgkeys rotate -y -q --psk shale")
		if n%20 == 19 && n+1 < rotations {
			t.Logf("%d rotations of a preshared key: %d of %d packets lost", n+1, lost, sent)
		}
	}
	t.Logf("%d rotations of a preshared key: %d of %d packets lost", rotations, lost, sent)
	for _, point := range []string{"seal the preshared key", "push the preshared key", "psk shale"} {
		rotateKilledAt(m.Users, "after controller: "+point, "wgkeys rotate -y --psk shale")
		replaced("wgkeys rotate -y --psk shale")
	}
	m.Must(here, "cp -a /root/net /root/behind")
	replaced("wgkeys rotate -y shale") // handshakes with it
	r := m.Run(here, "wgkeys rotate -y --psk -C /root/behind shale")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "it did not replace the preshared key with") {
		t.Errorf("in a clone that is behind: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := m.Run(here, "wgkeys check && wgkeys plan basalt && wgkeys plan shale"); r.Code != 0 {
		t.Errorf("afterwards: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if lost > 0 {
		t.Errorf("%d of %d packets were lost", lost, sent)
	}
}
