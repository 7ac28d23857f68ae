package main

import (
	"os"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// liveTunnel has a bit of everything that a kernel tells.
const liveTunnel = `listen_port = 30567

[hosts.shale]
ssh       = "root@93.93.130.7"
endpoint  = "93.93.130.7"
addresses = ["10.9.0.1/24"]
routes    = ["10.8.0.0/16"]
forward   = true

[hosts.basalt]
addresses = ["10.9.0.2/24", "fd00:9::2/64"]
keepalive = 25
`

// TestLabImportLive: what runs on hosts, here and over ssh, becomes the tunnel file that
// the files of its program become. Where the two differ the kernel counts, and that is reported.
// Without the files the kernel tells alone. Nothing on the hosts changes.
func TestLabImportLive(t *testing.T) {
	u := labtest.NewUsers(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u.Tunnel(liveTunnel)
	for _, h := range []string{"basalt", "shale"} {
		u.Must(u.Basalt, "umask 077; wgkeys export --secret --format wg-quick -o /root/"+h+".conf "+h)
	}
	u.Must(u.Basalt, "install -D -m 600 /root/basalt.conf /etc/wireguard/wg0.conf; ssh root@93.93.130.7 'umask 077; cat >/etc/wireguard/wg0.conf' </root/shale.conf")
	for _, h := range []*lab.Host{u.Basalt, u.Shale} {
		if err := h.Install("wireguard-go", self); err != nil {
			t.Fatal(err)
		}
		u.Must(h, "wg-quick up wg0")
	}
	before := [2]string{u.Snapshot(u.Basalt), u.Snapshot(u.Shale)}

	imported := func(what, args string, code int) (text, said string) {
		t.Helper()
		r := u.Run(u.Basalt, "rm -rf /root/in && wgkeys init -q --classic /root/in && cd /root/in && wgkeys import "+args+" && cat tunnels/wg0.toml >/root/"+what)
		if r.Code != code {
			t.Fatalf("%s: exits %d:\n%s%s", what, r.Code, r.Stdout, r.Stderr)
		}
		return u.Read(u.Basalt, "/root/"+what), r.Stdout + r.Stderr
	}
	files, _ := imported("files", "basalt=/root/basalt.conf shale=/root/shale.conf -t wg0", 0)
	live, said := imported("live", "--live basalt shale=root@93.93.130.7", 0)
	live = strings.Replace(live, "ssh = \"root@93.93.130.7\"\n", "", 1)
	if live != files || strings.Contains(said, "the kernel counts") {
		t.Errorf("of what runs\n%s\nof the files\n%s\n%s", live, files, said)
	}
	for i, h := range []*lab.Host{u.Basalt, u.Shale} {
		u.Same(h, before[i], "after import --live")
	}
	u.Must(u.Basalt, `! grep -rqF "$(wg show wg0 private-key)" /root/in && ! ssh root@93.93.130.7 wg show wg0 private-key | grep -rqFf - /root/in`)
	u.Must(u.Basalt, `cd /root/in && wgkeys push -q shale && wgkeys import --take-over shale && wgkeys plan shale &&
		wgkeys import --undo shale`)
	// wg-quick's forwarding had made the host deaf to advertisements, on a kernel with
	// force_forwarding. wgkeys has it hear them; what it learns then stays until it expires.
	u.Run(u.Shale, "ip -6 route del default dev eth0 proto ra")
	u.Same(u.Shale, before[1], "after it was taken over, over ssh, and given back")

	u.Must(u.Basalt, "wg set wg0 peer $(wg show wg0 peers) persistent-keepalive 17 allowed-ips 10.9.0.0/24,10.8.0.0/16,10.7.0.0/16 && ip route add 10.7.0.0/16 dev wg0")
	other, said := imported("other", "--live", 0)
	for _, part := range []string{"/etc/wireguard/wg0.conf:7: peer ", "keepalive: the file has 25, the kernel 17",
		"the kernel 10.7.0.0/16, "} {
		if !strings.Contains(said, part) {
			t.Errorf("%q is not told:\n%s", part, said)
		}
	}
	u.Want("the tunnel file", other, "keepalive = 17", `routes = ["10.9.0.0/24", "10.8.0.0/16", "10.7.0.0/16"]`)

	u.Must(u.Basalt, "umask 077; wgkeys export --format wg-quick basalt >/etc/wireguard/wg0.conf")
	if named, said := imported("named", "--live", 0); named != other {
		t.Errorf("a file that names the key's\n%s\none that has the key\n%s%s", named, other, said)
	}
	u.Must(u.Basalt, "rm /etc/wireguard/wg0.conf")
	alone, _ := imported("alone", "--live", 0)
	if named := strings.Replace(alone, "[hosts.peer1]", "[hosts.shale]", 1); named != other {
		t.Errorf("without the file\n%s\nwith it\n%s", alone, other)
	}
	u.Must(u.Basalt, "cd /root/in && wgkeys push -q basalt && wgkeys import --take-over && wgkeys plan")
	r := u.Run(u.Basalt, "cd /root/in && wgkeys import --live nobody=root@93.93.130.9")
	if r.Code == 0 || !strings.Contains(r.Stderr, "error:") {
		t.Errorf("a host that is not there: exits %d, %s", r.Code, r.Stderr)
	}
}

// TestLabImportTakeOverResolvers: of the resolvers that wg-quick and wgkeys give openresolv, under
// names of their own, there are only those of the program that has the tunnel.
func TestLabImportTakeOverResolvers(t *testing.T) {
	u := labtest.NewUsers(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u.Tunnel(liveTunnel + `dns       = ["10.9.0.1", "lab.example"]` + "\n")
	u.Write(u.Basalt, "/usr/local/bin/resolvconf", resolvconfLike)
	u.Must(u.Basalt, "chmod +x /usr/local/bin/resolvconf; echo nameserver 192.0.2.53 | resolvconf -a eth0.dhcp")
	u.Must(u.Basalt, "umask 077; wgkeys export --format wg-quick basalt >/etc/wireguard/wg0.conf")
	if err := u.Basalt.Install("wireguard-go", self); err != nil {
		t.Fatal(err)
	}
	u.Must(u.Basalt, "wg-quick up wg0")
	records := func(what, want string) {
		t.Helper()
		if got := strings.Join(strings.Fields(u.Must(u.Basalt, "ls /run/resolvconf/interfaces")), " "); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	const record = "cat /run/resolvconf/interfaces/wg0"
	records("wg-quick", "eth0.dhcp wg0")
	text := u.Must(u.Basalt, record)

	r := u.Run(u.Basalt, "wgkeys apply")
	if !strings.Contains(r.Stderr, "wgkeys import --take-over -t wg0 takes it over") {
		t.Errorf("apply beside wg-quick: exits %d, %s", r.Code, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys import --take-over")
	records("taken over", "eth0.dhcp vpn.wg0")
	u.Must(u.Basalt, "wgkeys import --undo")
	records("given back", "eth0.dhcp wg0")
	if again := u.Must(u.Basalt, record); again != text {
		t.Errorf("the record is\n%s\nand was\n%s", again, text)
	}

	u.Must(u.Basalt, "wgkeys import --take-over && wgkeys down")
	records("down", "eth0.dhcp")
	u.Must(u.Basalt, "wgkeys import --undo")
	records("given back without the interface", "eth0.dhcp")

	// ifupdown's scripts give each family a record
	u.Must(u.Basalt, `umask 077; wg-quick up wg0 && mv /etc/wireguard/wg0.conf /root/ && mkdir -p /etc/network/interfaces.d /root/ifupdown &&
		wgkeys export --format ifupdown -o /root/ifupdown/ basalt && cp /root/ifupdown/wg0 /etc/network/interfaces.d/ &&
		echo 'source /etc/network/interfaces.d/*' >/etc/network/interfaces && resolvconf -d wg0 && echo nameserver 10.9.0.1 | resolvconf -a wg0.inet`)
	records("ifupdown", "eth0.dhcp wg0.inet")
	u.Must(u.Basalt, "wgkeys import --take-over")
	records("taken over from ifupdown", "eth0.dhcp vpn.wg0")
	u.Must(u.Basalt, "wgkeys import --undo")
	records("given back to ifupdown", "eth0.dhcp wg0.inet")
}
