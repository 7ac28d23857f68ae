package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/lab"
	"wgkeys/deploy/tunnel"
)

// The same through other programs, which decides nothing.
func TestLabTransitionsOthers(t *testing.T) {
	if !long("transitions") || lab.Kernel() == "vm" {
		t.Skip("for make transitions")
	}
	for _, x := range otherTools {
		t.Run(x.name, func(t *testing.T) { testTransitions(t, x) })
	}
}

// wgkeys and the others go there and back again, change by change, on a kernel with
// WireGuard: only there systemd-networkd makes its interfaces.
func TestLabTransitionsBeside(t *testing.T) {
	if !long("transitions") || lab.Kernel() != "vm" {
		t.Skip("for make transitions, in the emulated machine")
	}
	for _, x := range slices.Concat([]tool{throughWgkeys}, otherTools, networkdTools) {
		t.Run(x.name, func(t *testing.T) { walkThrough(t, x, thereAndBack()) })
	}
}

// otherTools are other programs on the same way, each with what its manual
// tells users to do after an edit of its file.
var otherTools = []tool{
	{
		name:  "wg syncconf",
		files: confOf,
		up:    quickUp,
		move:  "cp /root/$1.conf /etc/wireguard/wg0.conf; wg-quick strip wg0 >/run/stripped; wg syncconf wg0 /run/stripped",
		down:  "wg-quick down wg0",
	},
	{
		name:  "wg-quick down, up",
		files: confOf,
		up:    quickUp,
		move:  "wg-quick down wg0; " + quickUp,
		down:  "wg-quick down wg0",
	},
}

// quickUp: the laboratory's kernel may have no WireGuard, and unlike one of the
// kernel's a device in user space would get a link-local address, each time
// another. wg-quick never puts src_valid_mark back; that it is set to begin with
// keeps this one difference out of the count.
const quickUp = "sysctl -q -w net.ipv6.conf.default.addr_gen_mode=1 net.ipv4.conf.all.src_valid_mark=1; ln -sf wgkeys /usr/local/bin/wireguard-go; cp /root/$1.conf /etc/wireguard/wg0.conf; wg-quick up wg0"

// confOf is a line of shell that writes a view as wg-quick(8) takes it, with
// the secrets from their files. What wg-quick has no word for is in its hooks.
func confOf(_ *testing.T, v *tunnel.View, path string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("umask 077; cat >%s.conf <<END", path)
	line("[Interface]\nPrivateKey = $(cat %s)\nListenPort = %d\nAddress = %s", v.PrivateKeyFile, v.ListenPort,
		joined(v.Addresses))
	line("MTU = %d", cmp.Or(v.MTU, 1420))
	if v.FwMark != 0 {
		line("FwMark = %d", v.FwMark)
	}
	if v.Table != 0 {
		line("Table = %d", v.Table)
	}
	hooks(v, line)
	for _, p := range v.Peers {
		line("[Peer]\nPublicKey = %s\nAllowedIPs = %s", p.PublicKey, joined(p.AllowedIPs))
		if p.PresharedKeyFile != "" {
			line("PresharedKey = $(cat %s)", p.PresharedKeyFile)
		}
		if p.Endpoint != "" {
			line("Endpoint = %s", p.Endpoint)
		}
		if p.Keepalive != 0 {
			line("PersistentKeepalive = %d", p.Keepalive)
		}
	}
	line("END")
	return b.String()
}

// hooks are the parts of a view that wg-quick runs as shell.
func hooks(v *tunnel.View, line func(string, ...any)) {
	sysctl := func(key, value string) {
		line("PostUp = sysctl -q -w %s=%s", key, value)
		if !strings.Contains(key, "wg0") {
			line("PostDown = sysctl -q -w %s=%s", key, map[string]string{"2": "1", "1": "0"}[value])
		}
	}
	if v.Forward {
		sysctl("net.ipv6.conf.eth0.accept_ra", "2")
		sysctl("net.ipv6.conf.all.forwarding", "1")
		sysctl("net.ipv4.ip_forward", "1")
	}
	for key, value := range v.Sysctls {
		sysctl(key, value)
	}
	for i, addr := range v.Proxies {
		if i == 0 {
			sysctl("net.ipv6.conf.eth0.proxy_ndp", "1")
		}
		line("PostUp = ip -6 neigh add proxy %s dev eth0\nPostDown = ip -6 neigh del proxy %s dev eth0", addr, addr)
	}
	if v.Masquerade != nil {
		line("PostUp = nft add table inet nat; nft 'add chain inet nat c { type nat hook postrouting priority 100; }'")
		line("PostUp = nft add rule inet nat c iifname wg0 oifname eth0 masquerade\nPostDown = nft delete table inet nat")
	}
	for _, r := range v.Routes {
		if r.Metric != 0 && r.Prefix.Bits() > 0 {
			line("PostUp = ip route replace %s dev wg0 metric %d", via(r), r.Metric)
		}
	}
}

func via(r tunnel.Route) string {
	if r.Gateway.IsValid() {
		return r.Prefix.String() + " via " + r.Gateway.String()
	}
	return r.Prefix.String()
}

func joined(prefixes []netip.Prefix) string {
	var words []string
	for _, p := range prefixes {
		words = append(words, p.String())
	}
	return strings.Join(words, ", ")
}

// networkdTools are two ways to have systemd-networkd take an edit of its files:
// networkctl(1) says that reload makes no difference to an interface that is
// there, so the second takes it away before.
var networkdTools = []tool{
	{
		name:  "networkctl reload, reconfigure",
		begin: networkdBegin,
		files: networkdFiles,
		up:    networkdFilesOf + "networkctl reload;" + networkdSettles,
		move:  networkdFilesOf + "networkctl reload; networkctl reconfigure wg0; sleep 0.2;" + networkdSettles,
		down:  networkdDown,
	},
	{
		name:  "networkctl delete, reload",
		begin: networkdBegin,
		files: networkdFiles,
		up:    networkdFilesOf + "networkctl reload;" + networkdSettles,
		move:  networkdFilesOf + "networkctl delete wg0; networkctl reload;" + networkdSettles,
		down:  networkdDown,
	},
}

// networkdBegin starts networkd with a bus of its own. /sys is read-only, as in a
// container: that is how networkd knows that there is no udev to wait for. It
// runs as a user of its own, who has to read the keys.
const networkdBegin = `install /run/machine/systemd-networkd /usr/lib/systemd/ || { echo run testdata/setup/managers.sh networkd >&2; exit 1; }
systemd-sysusers 2>/dev/null
mkdir -p /run/dbus /run/udev /run/systemd/netif /etc/systemd/network
chown systemd-network:systemd-network /run/systemd/netif
dbus-daemon --system --fork --nopidfile
mount -o remount,ro /sys
install -m 640 -g systemd-network /etc/wireguard/wg0.key /etc/wireguard/wg0.flint.psk /etc/systemd/network
setsid /usr/lib/systemd/systemd-networkd >/run/log 2>&1 </dev/null &
until networkctl list eth0 2>/dev/null | grep -q unmanaged; do sleep 0.1; done
`

const (
	networkdFilesOf = `for kind in netdev network; do cp "/root/$1.$kind" "/etc/systemd/network/wg0.$kind"; done; `
	networkdSettles = ` n=0; until networkctl list wg0 2>/dev/null | grep -q "routable *configured"; do n=$((n+1)); [ $n -lt 200 ] || { cat /run/log; exit 1; }; sleep 0.05; done`
	networkdDown    = `rm /etc/systemd/network/wg0.*d*; networkctl delete wg0; networkctl reload`
)

// networkdFiles is shell that writes a view as systemd.netdev(5) and
// systemd.network(5) take it. IPForward is the nearest word for a router.
func networkdFiles(_ *testing.T, v *tunnel.View, path string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("cat >%s.netdev <<END\n[NetDev]\nName=wg0\nKind=wireguard\nMTUBytes=%d", path, cmp.Or(v.MTU, 1420))
	line("[WireGuard]\nPrivateKeyFile=/etc/systemd/network/wg0.key\nListenPort=%d", v.ListenPort)
	if v.FwMark != 0 {
		line("FirewallMark=%d", v.FwMark)
	}
	for _, p := range v.Peers {
		line("[WireGuardPeer]\nPublicKey=%s\nAllowedIPs=%s", p.PublicKey, strings.ReplaceAll(joined(p.AllowedIPs), " ", ""))
		if p.PresharedKeyFile != "" {
			line("PresharedKeyFile=/etc/systemd/network/wg0.flint.psk")
		}
		if p.Endpoint != "" {
			line("Endpoint=%s", p.Endpoint)
		}
		if p.Keepalive != 0 {
			line("PersistentKeepalive=%d", p.Keepalive)
		}
	}
	line("END\ncat >%s.network <<END\n[Match]\nName=wg0\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nIPForward=%t",
		path, v.Forward)
	for _, a := range v.Addresses {
		line("Address=%s", a)
	}
	for _, r := range v.Routes {
		line("[Route]\nDestination=%s", r.Prefix)
		if r.Gateway.IsValid() {
			line("Gateway=%s\nGatewayOnLink=yes", r.Gateway)
		}
		if r.Metric != 0 {
			line("Metric=%d", r.Metric)
		}
	}
	line("END")
	return b.String()
}
