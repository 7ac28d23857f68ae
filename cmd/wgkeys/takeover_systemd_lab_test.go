//go:build managers

package main

import (
	"strconv"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
)

// takeOverTunnel has what lab-trial sends to behind shale.
const takeOverTunnel = `[hosts.shale]
endpoint  = "192.0.2.1"
addresses = ["10.7.0.1", "fd07::1"]
routes    = ["198.51.100.1/32", "2001:db8:51::1/128"]
[hosts.basalt]
addresses = ["10.7.0.2/24", "fd07::2/64"]
`

// A sidTakeOver is a program that brings wg0 up in the machine.
type sidTakeOver struct {
	unit    string // that the machine boots with
	online  string // succeeds when eth0 is up
	extra   string // lines of basalt
	up      string // makes its files and brings wg0 up
	had     string // succeeds while the program has the interface
	left    string // succeeds when it has not
	program string // as wgkeys calls it
}

var sidTakeOvers = map[string]sidTakeOver{
	"wg-quick": {
		unit: "systemd-networkd.service", online: sidManagers["networkd"].online, program: "wg-quick",
		up: `umask 077; wgkeys export --format wg-quick basalt >/etc/wireguard/wg0.conf
			systemctl enable --now wg-quick@wg0`,
		had:  "systemctl -q is-active wg-quick@wg0 && systemctl -q is-enabled wg-quick@wg0 && test -e /etc/wireguard/wg0.conf",
		left: "! systemctl -q is-active wg-quick@wg0 && ! systemctl -q is-enabled wg-quick@wg0 && test ! -e /etc/wireguard/wg0.conf",
	},
	"ifupdown": {
		unit: "systemd-networkd.service", online: sidManagers["networkd"].online, program: "ifupdown",
		up: `mkdir -p /etc/network/interfaces.d /run/network
			printf 'auto lo\niface lo inet loopback\nauto wg0\n' >/etc/network/interfaces
			wgkeys export --format ifupdown basalt |
				awk '/^# .etc.wireguard/ { conf = 1 } { print >(conf ? "/etc/wireguard/wg0.conf" : "/etc/network/interfaces.wg0") }'
			cat /etc/network/interfaces.wg0 >>/etc/network/interfaces
			ifup wg0`,
		had:  "grep -q '^iface wg0' /etc/network/interfaces",
		left: "! grep -q '^[^#]*wg0' /etc/network/interfaces && grep -q '^auto lo$' /etc/network/interfaces",
	},
	"networkd": {
		unit: "systemd-networkd.service", online: sidManagers["networkd"].online, program: "systemd-networkd",
		up: `chgrp systemd-network /etc/wireguard /etc/wireguard/wg0.key; chmod 750 /etc/wireguard; chmod 640 /etc/wireguard/wg0.key
			cat >/etc/systemd/network/50-wg0.netdev <<END
[NetDev]
Name=wg0
Kind=wireguard
[WireGuard]
PrivateKeyFile=/etc/wireguard/wg0.key
[WireGuardPeer]
PublicKey=$(cat keyring/shale/wg0.pub)
Endpoint=192.0.2.1:51820
AllowedIPs=10.7.0.1/32,fd07::1/128,198.51.100.1/32,2001:db8:51::1/128
END
			cat >/etc/systemd/network/50-wg0.network <<END
[Match]
Name=wg0
[Network]
Address=10.7.0.2/24
Address=fd07::2/64
[Route]
Destination=198.51.100.1/32
[Route]
Destination=2001:db8:51::1/128
END
			networkctl reload; until networkctl --no-legend list wg0 | grep -qw configured; do sleep 0.1; done`,
		had:  "networkctl --no-legend list wg0 | grep -qw configured && test -e /etc/systemd/network/50-wg0.netdev",
		left: "networkctl --no-legend list wg0 | grep -qw unmanaged && test ! -e /etc/systemd/network/50-wg0.netdev",
	},
	"NetworkManager": {
		unit: "NetworkManager.service", online: sidManagers["NetworkManager"].online, extra: "metric = 50\n",
		program: "NetworkManager",
		up: `umask 077; cat >/etc/NetworkManager/system-connections/office.nmconnection <<END
[connection]
id=office
uuid=4f8a3f9e-2f3b-4d0c-9d7e-6f1c0a0b1c2d
type=wireguard
interface-name=wg0
[wireguard]
private-key=$(cat /etc/wireguard/wg0.key)
[wireguard-peer.$(cat keyring/shale/wg0.pub)]
endpoint=192.0.2.1:51820
allowed-ips=10.7.0.1/32;198.51.100.1/32;fd07::1/128;2001:db8:51::1/128;
[ipv4]
method=manual
address1=10.7.0.2/24
[ipv6]
method=manual
address1=fd07::2/64
END
			nmcli connection reload; until nmcli -g GENERAL.STATE device show wg0 | grep -q ^100; do sleep 0.1; done`,
		had:  "test -e /etc/NetworkManager/system-connections/office.nmconnection",
		left: "nmcli -g GENERAL.STATE device show wg0 | grep -qx '10 (unmanaged)' && test ! -e /etc/NetworkManager/system-connections/office.nmconnection",
	},
}

// TestLabSystemdTakeOver takes a running tunnel over from each program, on the real
// systemd, and gives it back, while a thousand packets a second go each way. Recorded in
// doc/measured/managers.md.
func TestLabSystemdTakeOver(t *testing.T) {
	for name, s := range sidTakeOvers {
		t.Run(name, func(t *testing.T) {
			m := labtest.BootSid(t, s.unit)
			m.Eventually(s.online)
			m.Must("cat >/root/net/tunnels/wg0.toml <<'END'\n" + takeOverTunnel + s.extra + "END")
			m.Must("cd /root/net && { " + s.up + "\n}")
			m.Must("ping -c 1 -W 5 198.51.100.1 && ping -c 1 -W 5 2001:db8:51::1 && " + s.had)
			m.Eventually("! ip -6 address | grep tentative")
			before := m.Must("lab-snapshot")
			// Where both ends began a first handshake there may be another one after 5 s.
			session := m.Must("sleep 10; wg show wg0 latest-handshakes")
			s.lossless(m, "wgkeys import --take-over")
			m.Must(s.left)
			if out, code := m.Run("cd /root/net && wgkeys plan"); code != 0 {
				m.Errorf("plan exits %d\n%s", code, out)
			}
			s.lossless(m, "wgkeys import --undo")
			m.Must(s.had)
			if d := demo.LineDiff(before, m.Must("lab-snapshot")); d != "" {
				m.Errorf("given back, the host is not as it was:\n%s", d)
			}
			s.lossless(m, "wgkeys import --take-over")
			if now := m.Must("wg show wg0 latest-handshakes"); now != session {
				m.Errorf("another session: %s, was %s", now, session)
			}
			m.Reboot()
			m.Eventually("systemctl is-active -q wgkeys@wg0 && " + s.online)
			m.Must("ping -c 1 -W 5 198.51.100.1 && cd /root/net && wgkeys plan")
			m.Must(s.left)
		})
	}
}

func (s sidTakeOver) lossless(m *labtest.Sid, command string) {
	m.Helper()
	// One a millisecond of each family, of which the emulated processor sends some 800 a second.
	said := m.Must("lab-trial 'cd /root/net && " + command +
		" >/tmp/said 2>&1 || { cat /tmp/said; exit 1; }' 0.001; cat /tmp/said")
	count := map[string]int{}
	for line := range strings.Lines(said) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if n, err := strconv.Atoi(value); err == nil {
			count[name] = n
		}
	}
	m.Logf("%s: %d in the clear, %d and %d lost\n%s", command, count["clear"], count["lost4"], count["lost6"], said)
	if count["clear"]+count["lost4"]+count["lost6"] > 0 || count["sent4"] == 0 || count["sent6"] == 0 ||
		strings.Contains(said, "exits") {
		m.Errorf("%s: packets are lost\n%s", command, said)
	}
	if strings.HasSuffix(command, "--take-over") && !strings.Contains(said, "taken over from "+s.program) {
		m.Errorf("%s does not tell from whom", command)
	}
}

// TestLabSystemdTakeOverNetplan: netplan makes the profile with which NetworkManager has the
// interface. Once netplan's file is away, and the profile's with it, as the refusal says,
// NetworkManager goes on with what it has read, and would remove the interface when it reads again.
// The tunnel is taken over from there.
func TestLabSystemdTakeOverNetplan(t *testing.T) {
	m := labtest.BootSid(t, "NetworkManager.service")
	m.Eventually(sidManagers["NetworkManager"].online)
	m.Must("cat >/root/net/tunnels/wg0.toml <<'END'\n" + takeOverTunnel + "metric = 50\nEND")
	m.Must(`cd /root/net; umask 077; cat >/etc/netplan/60-wg0.yaml <<END
network:
  version: 2
  renderer: NetworkManager
  tunnels:
    wg0:
      mode: wireguard
      key: $(cat /etc/wireguard/wg0.key)
      addresses: [10.7.0.2/24, "fd07::2/64"]
      peers:
      - keys: {public: $(cat keyring/shale/wg0.pub)}
        endpoint: 192.0.2.1:51820
        allowed-ips: [10.7.0.1/32, 198.51.100.1/32, "fd07::1/128", "2001:db8:51::1/128"]
END
netplan generate; nmcli connection reload; until nmcli -g GENERAL.STATE device show wg0 | grep -q ^100; do sleep 0.1; done`)
	m.Must("ping -c 1 -W 5 198.51.100.1 && ping -c 1 -W 5 2001:db8:51::1")
	refused := func(want string) {
		m.Helper()
		if out, code := m.Run("cd /root/net && wgkeys import --take-over"); code != 1 || !strings.Contains(out, want) {
			m.Fatalf("exits %d, and does not say %q\n%s", code, want, out)
		}
	}
	refused("hint: mv /etc/netplan/60-wg0.yaml /etc/netplan/60-wg0.yaml.off; then netplan generate, which")
	m.Must("mv /etc/netplan/60-wg0.yaml /etc/netplan/60-wg0.yaml.off")
	refused("hint: netplan generate, which")
	m.Must("netplan generate && sleep 10")
	s := sidTakeOver{program: "NetworkManager (a profile that netplan made)"}
	s.lossless(m, "wgkeys import --take-over")
	m.Must("nmcli -g GENERAL.STATE device show wg0 | grep -qx '10 (unmanaged)' && nmcli connection reload && cd /root/net && wgkeys plan")
	s.lossless(m, "wgkeys import --undo")
	// By then NetworkManager has read again, and knows nothing of the tunnel.
	s.lossless(m, "wgkeys import --take-over 2>&1 | grep 'no program was found'")
	m.Reboot()
	m.Eventually("systemctl is-active -q wgkeys@wg0 && " + sidManagers["NetworkManager"].online)
	m.Must("ping -c 1 -W 5 198.51.100.1 && cd /root/net && wgkeys plan")
}
