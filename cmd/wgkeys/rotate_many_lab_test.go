package main

import (
	"fmt"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
)

// A host with more allowed IPs than wgctrl sends in one message gets another key, with
// its preshared key, and nothing is lost.
func TestLabRotateManyPrefixes(t *testing.T) {
	t.Parallel()
	m := newMesh(t, labtest.MeshOptions{Hosts: 2})
	var routes []string
	for i := range 300 {
		routes = append(routes, fmt.Sprintf("\"10.%d.%d.0/24\"", i>>8, i&255))
	}
	host := m.Hosts[1].Name()
	m.Tunnel("psk = true\n" + strings.Replace(m.TunnelFile(), "[hosts."+host+"]\n",
		"[hosts."+host+"]\nroutes = ["+strings.Join(routes, ", ")+"]\n", 1))
	m.Must(m.Hosts[0], "wgkeys gen -q "+m.Hosts[0].Name()+" && wgkeys push -q "+m.Hosts[0].Name()+" "+host+
		" && wgkeys apply -q && wgkeys apply -q "+host)
	m.Must(m.Hosts[0], "ping -6 -n -q -c 1 -w 20 "+m.Inside(m.Hosts[1]).String())
	m.StartStreams(calmRate())
	rotateOneByOne(m, 2)
	for _, h := range m.Hosts {
		if psks := m.Must(h, "wg show wg0 preshared-keys"); strings.Contains(psks, "(none)") {
			t.Errorf("%s has lost its preshared key", h.Name())
		}
	}
	if n := len(strings.Fields(m.Must(m.Hosts[0], "wg show wg0 allowed-ips"))); n != 302 { // and the peer's key
		t.Errorf("%d words of allowed IPs", n)
	}
}
