package ifupdown

import (
	"bytes"
	"fmt"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
)

// setconf returns the file for `wg setconf` (wg(8), "CONFIGURATION FILE FORMAT").
func setconf(v *tunnel.View, s foreign.Secrets) []byte {
	var b bytes.Buffer
	secret := func(key string, file []byte) {
		b.WriteString(key + " = ")
		b.Write(file)
		clear(file)
	}
	b.WriteString("[Interface]\n")
	if !s.PrivateKey.IsZero() {
		secret("PrivateKey", s.PrivateKey.File())
	}
	if v.ListenPort != 0 {
		fmt.Fprintf(&b, "ListenPort = %d\n", v.ListenPort)
	}
	if v.FwMark != 0 {
		fmt.Fprintf(&b, "FwMark = %#x\n", v.FwMark)
	}
	for i := range v.Peers {
		p := &v.Peers[i]
		b.WriteString("\n")
		for _, c := range foreign.Described(p.Name, p.About) {
			fmt.Fprintf(&b, "# %s\n", c)
		}
		fmt.Fprintf(&b, "[Peer]\nPublicKey = %s\n", p.PublicKey)
		if psk := s.PresharedKeys[p.Name]; !psk.IsZero() {
			secret("PresharedKey", psk.File())
		}
		if p.Endpoint != "" {
			fmt.Fprintf(&b, "Endpoint = %s\n", p.Endpoints()[0])
		}
		if p.Keepalive != 0 {
			fmt.Fprintf(&b, "PersistentKeepalive = %d\n", p.Keepalive)
		}
		if len(p.AllowedIPs) > 0 {
			all := make([]string, len(p.AllowedIPs))
			for j, a := range p.AllowedIPs {
				all[j] = a.String()
			}
			fmt.Fprintf(&b, "AllowedIPs = %s\n", strings.Join(all, ", "))
		}
	}
	return b.Bytes()
}
