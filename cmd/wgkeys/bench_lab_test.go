package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

func seconds(do func()) float64 {
	begin := time.Now()
	do()
	return time.Since(begin).Seconds()
}

// hub: ten thousand peers on WireGuard in user space, and a thousand where wg-quick takes part,
// whose routes take it minutes.
func (b *bench) hub() {
	h := newHub(b.T, manyPeers)
	b.equip(h.Host)
	same, changed := "wgkeys apply -q --view wg0.view", "wgkeys apply -q --view wg0-changed.view"
	h.sh(same)
	b.row(contest{name: "apply of 10,000 peers, nothing to do", beside: "`wg show dump`", bar: "at most 1.5",
		ready:  func() { h.sh(same) },
		ours:   func() float64 { return h.time(same) },
		theirs: func() float64 { return h.time("wg show wg0 dump") }})
	b.row(contest{name: "one peer of 10,000 changed", beside: "`wg syncconf`, the whole file", bar: "at most 1.0",
		ready:  func() { h.sh(same) },
		ours:   func() float64 { return h.time(changed) },
		theirs: func() float64 { return h.time("wg syncconf wg0 <(grep -v ^Address /etc/wireguard/wg0-changed.conf)") }})
	few := newHub(b.T, 1000)
	b.equip(few.Host)
	few.standIn()
	b.row(contest{name: "1,000 peers from nothing", beside: "`wg-quick up`", faster: true,
		ready:  func() { few.sh("wgkeys down -q; wg-quick down wg0 2>/dev/null; true") },
		ours:   func() float64 { return few.time("wgkeys apply -q --view wg0.view") },
		theirs: func() float64 { return few.time("wg-quick up wg0") }})
}

// processors is the processor time of a command on the hub, in seconds, and not that of the
// device, which is a process of its own.
func (h *hub) processors(command string) float64 {
	h.Helper()
	cmd := h.Command(h.Context(), "sh", "-c", "cd /root; "+command)
	if err := cmd.Run(); err != nil {
		h.Fatalf("%s: %v", command, err)
	}
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
}

// equip has the program itself be wgkeys on a host, and not the test's, which starts later.
func (b *bench) equip(h *lab.Host) {
	if err := errors.Join(h.Uninstall("wgkeys"), h.Install("wgkeys", b.wgkeys)); err != nil {
		b.Fatal(err)
	}
}

// fleet: 200 sshds on this machine, each in a namespace of its own.
func (b *bench) fleet() {
	s := labtest.NewStarOf(b.T, *spokesOf, b.wgkeys)
	f := manyRows{s, &strings.Builder{}}
	each := func(command string) string { return fmt.Sprintf(command, atOnce) }
	b.ofHosts(f, "push, nothing to do", 1, func() { f.Must(f.Hub, each("wgkeys push -q -j %d --all hub")) },
		each("wgkeys push -q -j %d --all"))
	f.Must(f.Hub, each("wgkeys apply -q && wgkeys apply -q -j %d --all"))
	b.ofHosts(f, "status", 1, nil, each("wgkeys status -j %d --all >/dev/null || [ $? = 4 ]"))
	keepalive := 0
	b.ofHosts(f, "apply of a change", 2, func() {
		keepalive++
		f.Tunnel(f.File(fmt.Sprintf("keepalive = %d", 100+keepalive)))
	}, each("wgkeys apply -q -j %d --all"))
}

// ofHosts compares with true(1) on each host, as often as the work takes a connection, by the
// processor time of the admin's machine: the hosts' own work is on the same processors.
func (b *bench) ofHosts(f manyRows, name string, connections int, ready func(), command string) {
	b.row(contest{name: fmt.Sprintf("%s on %d hosts, admin's processor time", name, len(f.Spokes)),
		beside: fmt.Sprintf("`xargs ssh HOST true`, %d a host", connections), bar: "at most 1.2", ready: ready,
		ours: func() float64 { return f.time(command).cpu.Seconds() },
		theirs: func() float64 {
			return f.xargs().cpu.Seconds() * float64(connections)
		}})
}

// throughput: TCP through both, from one host to the other, in bits a second.
func (b *bench) throughput() {
	m := labtest.NewMesh(b.T, labtest.MeshOptions{Hosts: 2})
	for _, h := range m.Hosts {
		b.equip(h)
		m.Must(h, "umask 077; cd /root/net 2>/dev/null || cd /run; wg showconf wg0 >/run/wg0.conf; ip -6 -o address show dev wg0 scope global | awk '{print $4}' >/run/address")
	}
	there := m.Inside(m.Hosts[1]).String()
	m.Must(m.Hosts[1], "iperf3 -s -D -p 5999 >/dev/null 2>&1")
	measure := func() float64 {
		m.Must(m.Hosts[0], "ping -6 -n -q -c 1 -w 20 "+there)
		var said struct {
			End struct {
				Sum struct {
					Bits float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			} `json:"end"`
		}
		if err := json.Unmarshal([]byte(m.Must(m.Hosts[0], "iperf3 -J -t 5 -p 5999 -c "+there)), &said); err != nil {
			b.Fatal(err)
		}
		return said.End.Sum.Bits
	}
	both := func(script string) {
		for _, h := range m.Hosts {
			m.Must(h, script)
		}
	}
	b.row(contest{name: "TCP through the device in user space", beside: "`wireguard-go`, Debian's",
		ours: func() float64 {
			both("ip link del wg0 2>/dev/null; true")
			m.Must(m.Hosts[0], "wgkeys apply -q && wgkeys apply -q "+m.Hosts[1].Name())
			return measure()
		},
		theirs: func() float64 {
			m.Must(m.Hosts[0], "wgkeys down -q && wgkeys down -q "+m.Hosts[1].Name())
			both("/usr/bin/wireguard-go wg0 >/dev/null 2>&1 && wg setconf wg0 /run/wg0.conf && ip -6 address add $(cat /run/address) dev wg0 nodad && " +
				"ip link set wg0 mtu 1420 up && for p in $(wg show wg0 allowed-ips | cut -f 2-); do ip -6 route replace $p dev wg0; done")
			defer both("ip link del wg0")
			return measure()
		}})
}
