//go:build managers

package main

import (
	"strconv"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// A sidManager is a network manager of the machine.
type sidManager struct {
	unit   string
	online string // succeeds when the manager has brought eth0 up
	says   string // prints what it calls wg0
	want   string // that it leaves it alone
	trials []sidTrial
}

// A sidTrial is something that an administrator does to the manager while there is
// traffic.
type sidTrial struct {
	name, script string
	cuts         bool // the uplink itself goes down, or the tunnel does until apply mends it
	mend         bool // plan sees it, and apply mends it
}

// bothFamilies succeeds when eth0 has DHCP's and the router's default route.
const bothFamilies = "ip -4 route show default dev eth0 | grep -q . && ip -6 route show default dev eth0 | grep -q . && "

var sidManagers = map[string]sidManager{
	"networkd": {
		unit:   "systemd-networkd.service",
		online: bothFamilies + "networkctl --no-legend list eth0 | grep -qw configured",
		says:   "networkctl --no-legend list wg0",
		want:   "unmanaged",
		trials: []sidTrial{
			{name: "reload", script: "networkctl reload"},
			{name: "reconfigure of the uplink", script: "networkctl reconfigure eth0"},
			{name: "restart", script: "systemctl restart systemd-networkd"},
			// it gives its lease back,
			{name: "started later",
				script: "systemctl stop systemd-networkd.socket systemd-networkd-varlink.socket systemd-networkd-varlink-metrics.socket systemd-networkd-resolve-hook.socket systemd-networkd && wgkeys apply -q && systemctl start systemd-networkd", cuts: true},
			// Asked twice in a row, it may give the uplink's lease back, and has one again 3 s later.
			{name: "a broad .network file",
				script: "printf '[Match]\\nName=wg*\\n[Network]\\nLinkLocalAddressing=no\\n' >/etc/systemd/network/50-wg.network; networkctl reload; networkctl reconfigure eth0", cuts: true},
			{name: "one that comes before all others",
				script: "mv /etc/systemd/network/50-wg.network /etc/systemd/network/00-wg.network; networkctl reload", cuts: true,
				mend: true},
			{name: "reload, restart beside that", script: "networkctl reload; systemctl restart systemd-networkd"},
			{name: "nftables reloaded, which flushes all tables",
				script: "systemctl start nftables && wgkeys apply -q && systemctl reload nftables && until nft list table inet wgkeys-wg0 >/dev/null 2>&1; do sleep 0.2; done"},
		},
	},
	"NetworkManager": {
		unit:   "NetworkManager.service",
		online: bothFamilies + "nmcli -g GENERAL.STATE device show eth0 | grep -q ^100",
		says:   "nmcli -g GENERAL.STATE device show wg0",
		want:   "10 (unmanaged)",
		trials: []sidTrial{
			{name: "reload", script: "nmcli general reload"},
			{name: "reapply on the uplink", script: "nmcli device reapply eth0"},
			{name: "restart", script: "systemctl restart NetworkManager"},
			{name: "started later",
				script: "systemctl stop NetworkManager && wgkeys apply -q && systemctl start NetworkManager"},
			// It takes IPv6's unreachable route too, which lies on lo.
			{name: "networking off and on",
				script: "nmcli networking off; sleep 1; nmcli networking on; until nmcli -g GENERAL.STATE device show eth0 | grep -q ^100; do sleep 0.2; done", cuts: true, mend: true},
			{name: "the interface taken",
				script: "nmcli device set wg0 managed yes; sleep 1; nmcli -g GENERAL.STATE device show wg0 | grep -q externally",
				mend:   true},
			{name: "restart after that", script: "systemctl restart NetworkManager"},
			{name: "networking off and on after that",
				script: "nmcli networking off; sleep 1; nmcli networking on; until nmcli -g GENERAL.STATE device show eth0 | grep -q ^100; do sleep 0.2; done", cuts: true, mend: true},
		},
	},
}

// TestLabSystemd tries a full tunnel of both families beside the managers of Debian sid,
// booted by the real systemd. Recorded in doc/measured/managers.md.
func TestLabSystemd(t *testing.T) {
	for name, manager := range sidManagers {
		t.Run(name, func(t *testing.T) {
			m := labtest.BootSid(t, manager.unit)
			m.Eventually(manager.online)
			t.Logf("%s", m.Must("uname -r; dpkg-query -W systemd network-manager"))
			manager.downRestores(m)
			m.Must("cd /root/net && umask 077 && wgkeys apply -q && wgkeys install -q")
			m.Reboot()
			m.Eventually("systemctl is-active -q wgkeys@wg0 && " + manager.online)
			manager.leavesAlone(m, "after boot")
			for _, trial := range manager.trials {
				manager.try(m, trial)
			}
		})
	}
}

// leavesAlone wants nothing to do, by the word of wgkeys and by that of the manager.
func (s sidManager) leavesAlone(m *labtest.Sid, when string) {
	m.Helper()
	out, code := m.Run("cd /root/net && wgkeys plan")
	if code != 0 {
		m.Errorf("%s: plan exits %d\n%s", when, code, out)
	}
	if says := m.Must(s.says); !strings.Contains(says, s.want) {
		m.Errorf("%s the interface is %s", when, says)
	}
}

func (s sidManager) try(m *labtest.Sid, trial sidTrial) {
	m.Helper()
	said := m.Must("lab-trial '" + strings.ReplaceAll(trial.script, "'", `'\''`) + "'")
	count := map[string]int{}
	for line := range strings.Lines(said) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if n, err := strconv.Atoi(value); err == nil {
			count[name] = n
		}
	}
	m.Logf("%s: %d in the clear, %d and %d lost", trial.name, count["clear"], count["lost4"], count["lost6"])
	for _, name := range []string{"clear", "lost4", "lost6"} {
		if _, ok := count[name]; !ok {
			m.Errorf("%s: it does not tell %s\n%s", trial.name, name, said)
		}
	}
	if count["clear"] != 0 {
		m.Errorf("%s: packets leave in the clear\n%s", trial.name, said)
	}
	if lost := count["lost4"] + count["lost6"]; lost != 0 && !trial.cuts {
		m.Errorf("%s: packets are lost\n%s", trial.name, said)
	}
	if trial.mend {
		if out, code := m.Run("cd /root/net && wgkeys plan"); code != ui.ExitFindings {
			m.Errorf("%s: plan exits %d\n%s", trial.name, code, out)
		}
		m.Must("cd /root/net && umask 077 && wgkeys apply -q")
	}
	s.leavesAlone(m, trial.name)
	m.Must("ping -c 2 198.51.100.1 && ping -c 2 2001:db8:51::1")
}

// downRestores: the uplink's accept_ra is 2 before the first apply, and stays. That of
// an uplink that a manager handles is 0, so this one is told by hand.
func (s sidManager) downRestores(m *labtest.Sid) {
	m.Helper()
	m.Eventually("! ip -6 address | grep tentative") // or the kernel changes it in between
	m.Must(`cd /root/net && cp tunnels/wg0.toml /tmp/ && echo 'forward = true' >>tunnels/wg0.toml && sysctl -qw net.ipv6.conf.eth0.accept_ra=2
		lab-snapshot >/tmp/before && wgkeys apply -q`)
	s.leavesAlone(m, "after the first apply")
	if out := m.Must("cd /root/net && wgkeys plan -v 2>&1"); strings.Contains(out, "accept_ra") {
		m.Errorf("the second apply would touch accept_ra:\n%s", out)
	}
	m.Must("cd /root/net && wgkeys apply -q && wgkeys apply -q && wgkeys down -q; mv /tmp/wg0.toml tunnels; lab-snapshot >/tmp/after")
	if out, code := m.Run("diff /tmp/before /tmp/after"); code != 0 {
		m.Errorf("after down:\n%s", out)
	}
}
