package main

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel"
)

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
	line("END\ncat >%s.network <<END\n[Match]\nName=wg0\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nIPForward=%t", path, v.Forward)
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
