//go:build amd64

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"wgkeys/cmd/internal/check"
	"wgkeys/cmd/internal/faulttest"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
)

// TestGenFaults: whatever goes wrong with gen, no key is lost or made twice, check
// names what is not there yet, and the same gen makes it.
func TestGenFaults(t *testing.T) {
	const hosts = "[hosts.basalt]\nendpoint = \"192.0.2.1\"\naddresses = [\"10.0.0.1/32\"]\n[hosts.shale]\nendpoint = \"192.0.2.2\"\naddresses = [\"10.0.0.2/32\"]\n"
	const slate = "[hosts.slate]\naddresses = [\"10.0.0.3/32\"]\n"
	gen := func(s *faulttest.Sweep, args ...string) func(string) []string {
		return func(work string) []string {
			return append([]string{"wgkeys", "gen", "-q", "-C", work, "-i", s.Alice}, args...)
		}
	}
	for n, test := range []struct {
		name string
		make func(*faulttest.Sweep)
	}{
		{"NewHost", func(s *faulttest.Sweep) {
			s.Write("tunnels/wg0.toml", hosts)
			s.Must("wgkeys", "gen", "-q", "-C", s.Base(), "basalt", "shale")
			s.Write("tunnels/wg0.toml", hosts+slate)
			s.Command = gen(s, "slate")
		}},
		{"SecondTunnel", func(s *faulttest.Sweep) {
			s.Write("tunnels/wg0.toml", hosts)
			s.Must("wgkeys", "gen", "-q", "-C", s.Base(), "basalt", "shale")
			s.Write("tunnels/wg1.toml", "listen_port = 51821\n"+strings.ReplaceAll(hosts, "10.0.0.", "10.0.1."))
			s.Command = gen(s, "-t", "wg1", "basalt", "shale")
		}},
		{"PSK", func(s *faulttest.Sweep) {
			s.Write("tunnels/wg0.toml", "psk = true\n"+hosts)
			s.Must("wgkeys", "gen", "-q", "-C", s.Base(), "basalt", "shale")
			s.Write("tunnels/wg0.toml", "psk = true\n"+hosts+slate)
			s.Command = gen(s, "slate")
		}},
		{"Sealed", func(s *faulttest.Sweep) {
			s.Write("tunnels/wg0.toml", hosts)
			s.Must("wgkeys", "gen", "-q", "-C", s.Base(), "basalt", "shale")
			s.Write("tunnels/wg0.toml", hosts+slate)
			s.Write("vault/slate/recipients.txt", "# the host's own\n"+s.Must("age-keygen", "-y", s.Alice))
			s.Command = gen(s, "--sealed", "slate")
			s.Done = func(work string) error {
				_, err := os.Stat(filepath.Join(work, "vault/slate/recipients.only.txt"))
				return err
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := faulttest.NewSweep(t, long("faults"))
			s.Seed, s.Allows = uint64(n), faulttest.Missing
			test.make(s)
			s.Sweep()
		})
	}
}

// TestImportFaults: whatever goes wrong with an import, no key is lost, what is there
// belongs to a tunnel that is not there yet, and the same import makes the rest.
func TestImportFaults(t *testing.T) {
	s := faulttest.NewSweep(t, long("faults"))
	key := func() (private, public string) {
		private = s.Must("wg", "genkey")
		cmd := exec.Command("wg", "pubkey")
		cmd.Stdin = strings.NewReader(private)
		text, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return private, string(text)
	}
	basalt, basaltPublic := key()
	shale, shalePublic := key()
	psk := s.Must("wg", "genpsk")
	list := []string{}
	for _, h := range [][5]string{{"basalt", basalt, shalePublic, "10.0.0.1", "10.0.0.2"},
		{"shale", shale, basaltPublic, "10.0.0.2", "10.0.0.1"}} {
		path := filepath.Join(s.Dir, h[0]+".conf")
		list = append(list, h[0]+"="+path)
		text := "[Interface]\nPrivateKey = " + h[1] + "Address = " + h[3] + "/32\n[Peer]\nPublicKey = " + h[2] +
			"PresharedKey = " + psk +
			"AllowedIPs = " + h[4] + "/32\n"
		if h[0] == "basalt" {
			text += "Endpoint = 192.0.2.1:51820\n"
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Allows = func(_ string, f check.Finding) bool { return f.Check == "orphaned" } // the tunnel file comes last
	s.Command = func(work string) []string {
		return append([]string{"wgkeys", "import", "-q", "-t", "wg0", "-C", work}, list...)
	}
	s.Done = func(work string) error {
		paths, err := filepath.Glob(filepath.Join(work, "vault/*/*.age"))
		if err == nil && len(paths) != 4 {
			err = fmt.Errorf("there are %q", paths)
		}
		return err
	}
	s.Sweep()
}

// TestInitFaults: whatever goes wrong with init, there is a repository or none, and
// the same init makes it.
func TestInitFaults(t *testing.T) {
	s := faulttest.NewSweep(t, long("faults"))
	s.Before = func(work string) {
		if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	s.Command = func(work string) []string { return []string{"wgkeys", "init", "-q", "--classic", "-i", s.Alice, work} }
	s.Done = func(work string) error {
		list, err := os.ReadFile(filepath.Join(work, "vault/recipients.txt"))
		if own := s.Must("age-keygen", "-y", s.Alice); err == nil && !strings.Contains(string(list), own) {
			err = fmt.Errorf("the recipients are %q", list)
		}
		return err
	}
	s.Sweep()
}

func init() { testPrograms["hit"], testPrograms["finish-next"] = faulttest.Hit, finishNextMain }

// finishNextMain is the end of a rotation alone: finish-next DIR HOST.
func finishNextMain() {
	u := &ui.UI{Stdout: os.Stdout, Stderr: os.Stderr}
	r, err := repo.Find(os.Args[1])
	if err == nil {
		err = r.Lock(context.Background(), false)
	}
	if err == nil {
		err = r.Promote(os.Args[2], "wg0", testOnlyStep)
	}
	u.Exit(err)
}

// TestFinishFaults: whatever goes wrong at the end of a rotation, when the hosts
// have the next key already, that key is not lost, check names the one file that
// is left to do, and the next try finishes.
func TestFinishFaults(t *testing.T) {
	for n, name := range []string{"Vault", "OnHost"} {
		t.Run(name, func(t *testing.T) {
			s := faulttest.NewSweep(t, long("faults"))
			s.Seed = uint64(n)
			next := s.MidRotation()
			if name == "OnHost" { // shale made the next key, and keeps it
				s.Keeper = "shale"
				if err := os.Remove(filepath.Join(s.Base(), "vault/shale/wg0.next.key.age")); err != nil {
					t.Fatal(err)
				}
			}
			s.Command = func(work string) []string { return []string{"finish-next", work, "shale"} }
			s.Allows = func(work string, f check.Finding) bool {
				return f.Check == "rotation" && f.File == "keyring/shale/wg0.next.pub"
			}
			s.Done = func(work string) error {
				text, err := os.ReadFile(filepath.Join(work, "keyring/shale/wg0.pub"))
				if err != nil || strings.TrimSpace(string(text)) != next {
					return fmt.Errorf("the public key is %s, %v", text, err)
				}
				return nil
			}
			s.Sweep()
		})
	}
}

// TestRekeyFaults: whatever goes wrong with a rekey, every file opens, for the old
// recipients or the new ones, check names those that are left, and the next rekey
// finishes: bob joins alice, or takes her place.
func TestRekeyFaults(t *testing.T) {
	for n, name := range []string{"Joins", "Replaces"} {
		t.Run(name, func(t *testing.T) {
			s := faulttest.NewSweep(t, long("faults"))
			s.Seed, s.Bob = uint64(n), filepath.Join(s.Dir, "bob.txt")
			s.Must("age-keygen", "-o", s.Bob)
			s.Write("tunnels/wg0.toml",
				"psk = true\n[hosts.basalt]\nendpoint = \"192.0.2.1\"\n[hosts.shale]\naddresses = [\"10.0.0.2/32\"]\n[hosts.slate]\naddresses = [\"10.0.0.3/32\"]\n")
			s.Must("wgkeys", "gen", "-q", "-C", s.Base(), "basalt", "shale", "slate")
			list := s.Must("age-keygen", "-y", s.Bob)
			if name == "Joins" {
				list += s.Must("age-keygen", "-y", s.Alice)
			}
			s.Write("vault/recipients.txt", list)
			s.Command = func(work string) []string { return []string{"wgkeys", "rekey", "-q", "-C", work, "-i", s.Alice} }
			s.Allows = func(work string, f check.Finding) bool {
				return f.Check == "recipients" && strings.HasPrefix(f.File, "vault/")
			}
			s.Done = func(work string) error { return s.Opens(work, map[string]bool{s.Bob: true, s.Alice: name == "Joins"}) }
			s.Sweep()
		})
	}
}
