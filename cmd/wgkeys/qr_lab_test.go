package main

import (
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
)

// TestLabQRPhone: a host that has nothing but what its QR code says gets into the tunnel, and
// the drawing tells so.
func TestLabQRPhone(t *testing.T) {
	labtest.Require(t, "zbarimg", "base64")
	u := labtest.NewUsers(t)
	phone := u.NewHost("phone")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		phone.Install("wireguard-go", self),
		u.Link(phone, "eth0", u.Router, "phone0"),
		u.Router.IP("address add 198.51.100.1/30 dev phone0"),
		phone.IP("address add 198.51.100.2/30 dev eth0"),
		phone.IP("route add default via 198.51.100.1"),
	); err != nil {
		t.Fatal(err)
	}
	u.Tunnel("psk = true\n" + strings.Replace(demo.FirstTunnel, "[hosts.shale]", `[hosts.phone]
managed = false
addresses = ["2001:db8:7767::3/128"]

[hosts.shale]
addresses = ["2001:db8:7767::1/128"]`, 1))
	u.Must(u.Basalt, "wgkeys gen phone basalt shale && wgkeys push -q basalt shale && wgkeys apply -q shale")
	if out := u.Must(u.Basalt, "wgkeys graph --live"); !strings.Contains(out, "phone: no handshake yet") {
		t.Errorf("before the telephone is there:\n%s", out)
	}

	u.Must(u.Basalt, "wgkeys qr phone -o /root/phone.png")
	picture, err := base64.StdEncoding.DecodeString(u.Must(u.Basalt, "base64 -w0 /root/phone.png"))
	if err != nil {
		t.Fatal(err)
	}
	text := labtest.ReadQR(t, picture)
	if want := u.Must(u.Basalt, "wgkeys export --secret phone"); text != want {
		t.Fatal("the code is not what is exported for wg-quick")
	}
	u.Write(phone, "/root/wg0.conf", text)
	u.Must(phone, "wg-quick up /root/wg0.conf")
	defer u.Must(phone, "wg-quick down /root/wg0.conf")
	u.Must(phone, "ping -6 -n -c 1 -W 5 2001:db8:7767::1")
	for format, want := range map[string]string{
		"mermaid": "host1 --> host2",
		"dot":     `"phone" -> "shale"`,
		"svg":     "green: a handshake of the last 3 min",
	} {
		out := u.Must(u.Basalt, "wgkeys graph --live --format "+format)
		if !strings.Contains(out, want) || !strings.Contains(out, "phone: handshake ") {
			t.Errorf("with the telephone:\n%s", out)
		}
	}
}
