package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// A phoneLab is a hub, basalt, with another host, shale, and a phone, flint, that nobody
// logs in to. The repository is on basalt.
type phoneLab struct {
	*labtest.Mesh
	hub, other, phone *lab.Host
}

func newPhoneLab(t *testing.T) *phoneLab {
	m := newMesh(t, labtest.MeshOptions{Hosts: 3})
	l := &phoneLab{m, m.Hosts[0], m.Hosts[1], m.Hosts[2]}
	l.file("")
	l.Must(l.hub, "git init -q && "+commitAll+" && wgkeys apply -q && wgkeys apply -q shale")
	return l
}

const commitAll = "git add -A && git -c user.name=a -c user.email=a@example.net commit -q --allow-empty -m keys"

// file writes the tunnel file, which more begins.
func (l *phoneLab) file(more string) {
	l.Helper()
	text := more + l.TunnelFile()
	text, _, _ = strings.Cut(text, "\n[hosts.flint]")
	l.Tunnel(text + "\n[hosts.flint]\nmanaged = false\ndescription = \"Anna's telephone\"\naddresses = [\"" +
		l.Inside(l.phone).String() + "/128\"]\n")
}

// exits runs a command on the hub and wants its exit code, and these texts in what it says.
func (l *phoneLab) exits(code int, command string, texts ...string) labtest.Result {
	l.Helper()
	r := l.Run(l.hub, command)
	if r.Code != code {
		l.Errorf("%s: exit %d, want %d\n%s%s", command, r.Code, code, r.Stdout, r.Stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.Stdout+r.Stderr, text) {
			l.Errorf("%s does not say %q:\n%s%s", command, text, r.Stdout, r.Stderr)
		}
	}
	return r
}

// bring does by hand on the phone what the hub exports for it.
func (l *phoneLab) bring() {
	l.Helper()
	var conf strings.Builder
	for line := range strings.Lines(l.Must(l.hub, "wgkeys export --secret flint | cat")) {
		if key, _, _ := strings.Cut(line, " = "); !slices.Contains([]string{"Address", "DNS", "MTU", "Table"}, key) {
			conf.WriteString(line)
		}
	}
	l.Write(l.phone, "/root/wg0.conf", conf.String())
	l.Must(l.phone, "wg syncconf wg0 /root/wg0.conf && rm /root/wg0.conf")
	l.reach()
}

// reach has the phone begin with both of the others.
func (l *phoneLab) reach() {
	l.Helper()
	for _, h := range []*lab.Host{l.hub, l.other} {
		l.Must(l.phone, "ping -6 -n -q -c 1 -w 30 "+l.Inside(h).String())
	}
}

func (l *phoneLab) psk(h *lab.Host, peer string) string {
	l.Helper()
	for line := range strings.Lines(l.Must(h, "wg show wg0 preshared-keys")) {
		if f := strings.Fields(line); f[0] == peer {
			return f[1]
		}
	}
	l.Fatalf("%s has no peer %s", h.Name(), peer)
	return ""
}

// refusesPhone wants what would log in to the phone refused before anything is tried.
func (l *phoneLab) refusesPhone() {
	l.Helper()
	for _, command := range []string{"push flint", "apply flint", "plan flint", "down flint", "confirm flint",
		"status flint",
		"rotate -y flint", "rotate -y --now flint", "gen --on-host flint"} {
		r := l.exits(ui.ExitFailed, "wgkeys "+command,
			`nobody logs in to host "flint": it has managed = false in tunnels/wg0.toml:`, "hint: ")
		if r.Stdout != "" || strings.Contains(r.Stderr, "cannot reach") {
			l.Errorf("wgkeys %s:\n%s%s", command, r.Stdout, r.Stderr)
		}
	}
}

// TestLabUnmanaged: check, push, status and rotate are done with a phone among the hosts,
// which keeps its key and is a peer before and after. Whoever still has the old key of
// a host is named at the end of its rotation, and by status until it was seen with
// the new one.
func TestLabUnmanaged(t *testing.T) {
	t.Parallel()
	l := newPhoneLab(t)
	l.exits(ui.ExitDone, "wgkeys check")
	l.exits(ui.ExitDone, "wgkeys push --all")
	if r := l.exits(ui.ExitDone, "wgkeys status"); strings.Contains(r.Stdout, "note:") {
		t.Errorf("status before a rotation:\n%s", r.Stdout)
	}
	l.exits(ui.ExitDone, "wgkeys show flint", "nobody logs in to this host", "Anna's telephone")
	l.refusesPhone()

	phone, old := publicKeyOf(l.Users, "flint"), publicKeyOf(l.Users, "basalt")
	r := l.exits(ui.ExitDone, "wgkeys rotate -y", "no commit has the new keys yet: git -C /root/net add -A")
	hub, other := publicKeyOf(l.Users, "basalt"), publicKeyOf(l.Users, "shale")
	for host, key := range map[string]string{"basalt": hub, "shale": other} {
		want := host + " wg0: give flint its new public key by hand, or with wgkeys export flint: " + key + "; until then " + host
		if !strings.Contains(r.Stderr, want) || strings.Index(r.Stderr, want) < strings.LastIndex(r.Stderr,
			"answered with the next key") {
			t.Errorf("rotate does not say at the end %q:\n%s", want, r.Stderr)
		}
	}
	if hub == old || publicKeyOf(l.Users, "flint") != phone || strings.Count(r.Stdout, "\n") != 2 {
		t.Errorf("rotate has replaced other keys than those of basalt and shale:\n%s", r.Stdout)
	}
	for _, h := range []*lab.Host{l.hub, l.other} {
		l.Must(h, "wg show wg0 peers | grep -qxF "+phone)
	}

	const note = "note: not seen since the key of basalt was replaced, "
	l.exits(ui.ExitDone, "wgkeys status", note, "note: not seen since the key of shale was replaced, ",
		" ago: flint (Anna's telephone); give it the new public key")
	var all []remote.HostStatus
	text := l.Must(l.hub, "wgkeys status --json basalt")
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != 1 || len(all[0].Notes) != 1 ||
		all[0].Findings != nil {
		t.Errorf("status --json: %v\n%s", err, text)
	}
	l.Must(l.hub, "wgkeys down -q && wgkeys apply -q") // the kernel forgets who was seen
	l.exits(ui.ExitDone, "wgkeys status basalt",
		"note: not seen since the tunnel came up, and may have the key that basalt had before: flint (")
	l.bring()
	if r := l.exits(ui.ExitDone, "wgkeys status"); strings.Contains(r.Stdout, "note:") {
		t.Errorf("status names a phone that has the new keys:\n%s", r.Stdout)
	}
	l.exits(ui.ExitDone, "wgkeys check")
}

// TestLabUnmanagedKeys: the key of a phone, and a preshared key with it, are replaced by
// hand as the hints say, and its private key need not be in the vault.
func TestLabUnmanagedKeys(t *testing.T) {
	t.Parallel()
	l := newPhoneLab(t)
	l.file("psk = true\n")
	l.Must(l.hub, "wgkeys gen -q basalt shale && wgkeys push -q basalt shale && wgkeys apply -q && wgkeys apply -q shale")
	l.bring()

	// The key, as rotate has it done.
	old := publicKeyOf(l.Users, "flint")
	l.exits(ui.ExitFailed, "wgkeys rotate -y flint",
		"/vault/flint/wg0.key.age && wgkeys gen flint && wgkeys apply basalt shale && wgkeys export --secret flint")
	l.Must(l.hub, "rm keyring/flint/wg0.pub vault/flint/wg0.key.age")
	l.exits(ui.ExitDone, "wgkeys gen flint", "nobody logs in to flint: wgkeys qr flint")
	l.Must(l.hub, "wgkeys apply -q && wgkeys apply -q shale")
	phone := publicKeyOf(l.Users, "flint")
	if phone == old {
		t.Error("gen has made no other key")
	}
	l.bring()

	// The preshared keys with a phone stay, unless it is named.
	before, managed := l.psk(l.hub, phone), l.psk(l.hub, publicKeyOf(l.Users, "shale"))
	l.exits(ui.ExitDone, "wgkeys rotate -y --psk basalt",
		"preshared keys that stay, since nobody logs in to the second host: basalt with flint;",
		"wgkeys rotate --psk flint")
	if l.psk(l.hub, phone) != before || l.psk(l.hub, publicKeyOf(l.Users, "shale")) == managed {
		t.Error("rotate --psk has replaced another preshared key than that of the managed hosts")
	}
	l.exits(ui.ExitDone, "wgkeys rotate -y --psk flint", "to be brought by hand", "wgkeys export --secret flint")
	l.exits(ui.ExitDone, "wgkeys check")
	l.exits(ui.ExitDone, "wgkeys plan && wgkeys plan shale && wgkeys push basalt shale")
	after := l.psk(l.hub, phone)
	l.bring()
	if after == before || after == "(none)" || l.psk(l.phone, publicKeyOf(l.Users, "basalt")) != after {
		t.Errorf("the preshared key of basalt and flint is not another one, the same at both ends")
	}

	// One whose private key is not here.
	l.Must(l.hub, "rm vault/flint/wg0.key.age")
	l.exits(ui.ExitDone, "wgkeys check")
	l.exits(ui.ExitDone, "wgkeys gen flint basalt", "flint has a key in wg0 already: "+phone)
	l.exits(ui.ExitFailed, "wgkeys rotate -y flint", "keyring/flint/wg0.pub, then wgkeys apply basalt shale")
	l.exits(ui.ExitDone, "wgkeys rotate -y basalt", "give flint its new public key")
	l.exits(ui.ExitDone, "test ! -e vault/flint/wg0.key.age && wgkeys status -v", "flint")
}

// TestLabReachable: a server that is alone in its tunnel comes up, and so does one whose
// address only its peer knows.
func TestLabReachable(t *testing.T) {
	u := labtest.FirstUsers(t)
	alone := "[hosts.shale]\nssh = \"root@93.93.130.7\"\nreachable = true\naddresses = [\"10.77.0.1/24\"]\n"
	u.Tunnel(alone)
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys status shale")
	if port := u.Must(u.Shale, "wg show wg0 listen-port"); port != "51820\n" {
		t.Errorf("a host that peers reach listens on port %s", port)
	}
	old := publicKeyOf(u, "shale")
	u.Must(u.Basalt, "wgkeys rotate -y shale && wgkeys status shale")
	if old == publicKeyOf(u, "shale") {
		t.Error("a host that is alone keeps its key")
	}

	u.Tunnel(alone + "[hosts.basalt]\nmanaged = false\naddresses = [\"10.77.0.2/32\"]\n")
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys check")
	u.Must(u.Basalt, "ip link add wg0 type wireguard 2>/dev/null || { ln -sf wgkeys /usr/local/bin/wireguard-go && wireguard-go wg0; }; "+
		"wg set wg0 private-key /etc/wireguard/wg0.key peer "+publicKeyOf(u,
		"shale")+" allowed-ips 10.77.0.0/24 endpoint 93.93.130.7:51820 && "+
		"ip addr add 10.77.0.2/24 dev wg0 && ip link set wg0 up && ping -n -q -c 1 -w 30 10.77.0.1")
	u.Must(u.Basalt, "ip link del wg0 && wgkeys status shale && wgkeys down -q shale")
}
