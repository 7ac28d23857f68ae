package formats

import (
	"os"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/draft"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/fault"
)

// TestPasted: wherever in a file somebody has pasted a private key, no error, no list of what is
// left out and no tunnel file repeats it.
func TestPasted(t *testing.T) {
	key, own := strings.TrimSpace(string(made("laptop"))), strings.TrimSpace(string(made("me")))
	secret := strings.Repeat("k3Y/", 10) + "k3Y="
	const stanza = "auto wg0\niface wg0 inet static\n\taddress 10.0.0.2/24\n\tpre-up ip link add $IFACE type wireguard\n"
	profile := "[connection]\ntype=wireguard\ninterface-name=wg0\nid=@\n[wireguard]\nprivate-key=" + own + "\n[wireguard-peer." +
		key + "]\nallowed-ips=10.0.0.0/24;\nendpoint=192.0.2.7:51820\n[ipv4]\nmethod=manual\naddress1=10.0.0.2/24\n"
	router := "config interface wg0\n\toption proto wireguard\n\toption private_key " + own + "\n\toption listen_port 51820\n"
	for name, text := range map[string]string{
		"interfaces 1":     stanza + "\tpre-up wg set $IFACE listen-port 51820 @\n\tpre-up wg set $IFACE private-key /etc/k\n",
		"interfaces 2":     stanza + "\tup ip route add 10.9.0.0/24 via 10.0.0.1 @\n\tpre-up wg set $IFACE private-key /etc/k\n",
		"interfaces 3":     stanza + "\tpre-up wg setconf $IFACE /etc/wg.conf=@\n",
		"interfaces 4":     stanza + "\tpre-up wg setconf $IFACE /etc/$@\n\tpre-up wg set $IFACE private-key /etc/k\n",
		"interfaces 5":     stanza + "\tdown ip link del $IFACE @\n\tpre-up wg set $IFACE private-key /etc/wireguard/@\n",
		"id.nmconnection":  profile,
		"dns.nmconnection": profile + "dns-search=@\n",
		"network 1":        router + "config @\n\toption interface wg0\n",
		"network 2":        router + "\tlist dns @\n\tlist addresses 10.0.0.1/24\n",
		"network 3": router + "config wireguard_wg0\n\toption public_key " + key +
			"\n\toption endpoint_host vpn.example.net=@\n\tlist allowed_ips 10.0.0.0/24\n",
		"wg0.netdev": "[NetDev]\nName=wg0\nKind=wireguard\nDescription=@\n[WireGuard]\nPrivateKeyFile=/etc/keys/@\n",
		"wg0.yaml": "network:\n  version: 2\n  tunnels:\n    wg0:\n      mode: wireguard\n      key: /etc/keys/@\n" +
			"      addresses: [10.0.0.2/24]\n      nameservers: {search: [\"@\"]}\n",
		"wg0.conf": "[Interface]\nPrivateKey = " + own + "\nAddress = 10.0.0.2/24\nDNS = 10.0.0.1, @\nPostUp = sysctl net.ipv4.x=@\n" +
			"PostUp = ip link set wg0 alias x@\n",
	} {
		read := func(string) ([]byte, error) { return nil, os.ErrNotExist }
		text = strings.ReplaceAll(text, "@", secret)
		said := ""
		devices, err := Parse([]foreign.File{{Name: name, Text: []byte(text)}}, "", read)
		var d *draft.Draft
		if err == nil {
			devices[0].Host = "me"
			d, err = draft.Make(devices)
		}
		if err == nil {
			said = string(d.Text)
			for _, l := range d.Left {
				said += l.What + ": " + l.Why + "\n"
			}
		} else {
			said = err.Error()
			fault.Each(err, func(f *fault.Fault) { said += "\n" + f.Error() + "\n" + f.Hint })
		}
		if strings.Contains(said, secret[:12]) {
			t.Errorf("%s:\n%s", name, said)
		}
	}
}
