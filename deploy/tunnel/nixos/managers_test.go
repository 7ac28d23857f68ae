//go:build managers

package nixos

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
)

// An evaluated module, as far as both kinds of interface have the same.
type evaluated struct {
	Networking struct {
		Wireguard struct{ Interfaces map[string]device }
		Quick     struct{ Interfaces map[string]device } `json:"wg-quick"`
	}
	Boot struct {
		Kernel struct{ Sysctl map[string]string }
	}
}

type device struct {
	IPs, Address, DNS []string
	ListenPort, MTU   int
	PrivateKeyFile    string
	FwMark, Table     string
	Peers             []peer
}

type peer struct {
	PublicKey, PresharedKeyFile, Endpoint string
	PersistentKeepalive                   int
	AllowedIPs                            []string
}

// Nix (Debian's nix-bin) parses each module, and evaluates it to what the view says. The
// packages of Nixpkgs are stand-ins, because only their paths are used.
func TestManagersNix(t *testing.T) {
	program, err := exec.LookPath("nix-instantiate")
	if err != nil {
		t.Fatalf("%v: run apt-get install --no-install-recommends nix-bin", err)
	}
	for name, v := range views() {
		files, err := Format(v, foreign.Secrets{})
		if err != nil {
			t.Fatal(err)
		}
		module := filepath.Join(t.TempDir(), "module.nix")
		if err := os.WriteFile(module, files[0].Text, 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, program, "--parse", module)
		out := run(t, program, "--eval", "--strict", "--json", "--expr", "import "+module+` { pkgs = { iproute2 = "/i";
			gnused = "/s"; iptables = "/t"; wireguard-tools = "/w"; }; }`)
		var got evaluated
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		d, ok := got.Networking.Wireguard.Interfaces[v.Tunnel]
		if !ok {
			d = got.Networking.Quick.Interfaces[v.Tunnel]
		}
		if diff := cmp.Diff(said(v), d.said()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for key, val := range v.Sysctls {
			if got.Boot.Kernel.Sysctl[key] != val {
				t.Errorf("%s: %s is %q", name, key, got.Boot.Kernel.Sysctl[key])
			}
		}
	}
}

func run(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	c := exec.Command(program, args...)
	c.Env = append(os.Environ(), "NIX_STATE_DIR="+t.TempDir(), "NIX_STORE_DIR="+t.TempDir(), "HOME="+t.TempDir())
	out, err := c.Output()
	if exit, ok := err.(*exec.ExitError); ok {
		t.Fatalf("%v: %s", err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	return out
}

// said is what both a view and a module say.
func (d device) said() device {
	if d.IPs == nil {
		d.IPs = d.Address
	}
	d.Address, d.FwMark, d.Table = nil, "", "" // in commands, for wg-quick
	return d
}

func said(v *tunnel.View) device {
	d := device{ListenPort: v.ListenPort, MTU: v.MTU, PrivateKeyFile: v.PrivateKeyFile, DNS: v.DNS}
	for _, a := range v.Addresses {
		if v.Remotes[a.Addr()].IsValid() {
			continue // in a command
		}
		d.IPs = append(d.IPs, a.String())
	}
	for _, p := range v.Peers {
		q := peer{PublicKey: p.PublicKey.String(), PresharedKeyFile: p.PresharedKeyFile, Endpoint: p.Endpoint,
			PersistentKeepalive: p.Keepalive}
		for _, a := range p.AllowedIPs {
			q.AllowedIPs = append(q.AllowedIPs, a.String())
		}
		d.Peers = append(d.Peers, q)
	}
	return d
}
