//go:build amd64

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wgkeys/cmd/internal/check"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
)

// TestGenFaults: whatever goes wrong with gen, no key is lost or made twice, check
// names what is not there yet, and the same gen makes it.
func TestGenFaults(t *testing.T) {
	const hosts = "[hosts.basalt]\nendpoint = \"192.0.2.1\"\naddresses = [\"10.0.0.1/32\"]\n[hosts.shale]\nendpoint = \"192.0.2.2\"\naddresses = [\"10.0.0.2/32\"]\n"
	const slate = "[hosts.slate]\naddresses = [\"10.0.0.3/32\"]\n"
	gen := func(s *vaultSweep, args ...string) func(string) []string {
		return func(work string) []string {
			return append([]string{"wgkeys", "gen", "-q", "-C", work, "-i", s.alice}, args...)
		}
	}
	for n, test := range []struct {
		name string
		make func(*vaultSweep)
	}{
		{"NewHost", func(s *vaultSweep) {
			s.write("tunnels/wg0.toml", hosts)
			s.must("wgkeys", "gen", "-q", "-C", s.base(), "basalt", "shale")
			s.write("tunnels/wg0.toml", hosts+slate)
			s.command = gen(s, "slate")
		}},
		{"SecondTunnel", func(s *vaultSweep) {
			s.write("tunnels/wg0.toml", hosts)
			s.must("wgkeys", "gen", "-q", "-C", s.base(), "basalt", "shale")
			s.write("tunnels/wg1.toml", "listen_port = 51821\n"+strings.ReplaceAll(hosts, "10.0.0.", "10.0.1."))
			s.command = gen(s, "-t", "wg1", "basalt", "shale")
		}},
		{"PSK", func(s *vaultSweep) {
			s.write("tunnels/wg0.toml", "psk = true\n"+hosts)
			s.must("wgkeys", "gen", "-q", "-C", s.base(), "basalt", "shale")
			s.write("tunnels/wg0.toml", "psk = true\n"+hosts+slate)
			s.command = gen(s, "slate")
		}},
		{"Sealed", func(s *vaultSweep) {
			s.write("tunnels/wg0.toml", hosts)
			s.must("wgkeys", "gen", "-q", "-C", s.base(), "basalt", "shale")
			s.write("tunnels/wg0.toml", hosts+slate)
			s.write("vault/slate/recipients.txt", "# the host's own\n"+s.must("age-keygen", "-y", s.alice))
			s.command = gen(s, "--sealed", "slate")
			s.done = func(work string) error {
				_, err := os.Stat(filepath.Join(work, "vault/slate/recipients.only.txt"))
				return err
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newVaultSweep(t, long("faults"))
			s.seed, s.allows = uint64(n), missing
			test.make(s)
			s.sweep()
		})
	}
}

// TestInitFaults: whatever goes wrong with init, there is a repository or none, and
// the same init makes it.
func TestInitFaults(t *testing.T) {
	s := newVaultSweep(t, long("faults"))
	s.before = func(work string) {
		if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	s.command = func(work string) []string { return []string{"wgkeys", "init", "-q", "--classic", "-i", s.alice, work} }
	s.done = func(work string) error {
		list, err := os.ReadFile(filepath.Join(work, "vault/recipients.txt"))
		if own := s.must("age-keygen", "-y", s.alice); err == nil && !strings.Contains(string(list), own) {
			err = fmt.Errorf("the recipients are %q", list)
		}
		return err
	}
	s.sweep()
}

func init() { testPrograms["hit"], testPrograms["finish-next"] = hit, finishNextMain }

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
			s := newVaultSweep(t, long("faults"))
			s.seed = uint64(n)
			next := s.midRotation()
			if name == "OnHost" { // shale made the next key, and keeps it
				s.keeper = "shale"
				if err := os.Remove(filepath.Join(s.base(), "vault/shale/wg0.next.key.age")); err != nil {
					t.Fatal(err)
				}
			}
			s.command = func(work string) []string { return []string{"finish-next", work, "shale"} }
			s.allows = func(work string, f check.Finding) bool {
				return f.Check == "rotation" && f.File == "keyring/shale/wg0.next.pub"
			}
			s.done = func(work string) error {
				text, err := os.ReadFile(filepath.Join(work, "keyring/shale/wg0.pub"))
				if err != nil || strings.TrimSpace(string(text)) != next {
					return fmt.Errorf("the public key is %s, %v", text, err)
				}
				return nil
			}
			s.sweep()
		})
	}
}

// TestRekeyFaults: whatever goes wrong with a rekey, every file opens, for the old
// recipients or the new ones, check names those that are left, and the next rekey
// finishes: bob joins alice, or takes her place.
func TestRekeyFaults(t *testing.T) {
	for n, name := range []string{"Joins", "Replaces"} {
		t.Run(name, func(t *testing.T) {
			s := newVaultSweep(t, long("faults"))
			s.seed, s.bob = uint64(n), filepath.Join(s.dir, "bob.txt")
			s.must("age-keygen", "-o", s.bob)
			s.write("tunnels/wg0.toml", "psk = true\n[hosts.basalt]\nendpoint = \"192.0.2.1\"\n[hosts.shale]\naddresses = [\"10.0.0.2/32\"]\n[hosts.slate]\naddresses = [\"10.0.0.3/32\"]\n")
			s.must("wgkeys", "gen", "-q", "-C", s.base(), "basalt", "shale", "slate")
			list := s.must("age-keygen", "-y", s.bob)
			if name == "Joins" {
				list += s.must("age-keygen", "-y", s.alice)
			}
			s.write("vault/recipients.txt", list)
			s.command = func(work string) []string { return []string{"wgkeys", "rekey", "-q", "-C", work, "-i", s.alice} }
			s.allows = func(work string, f check.Finding) bool {
				return f.Check == "recipients" && strings.HasPrefix(f.File, "vault/")
			}
			s.done = func(work string) error { return s.opens(work, map[string]bool{s.bob: true, s.alice: name == "Joins"}) }
			s.sweep()
		})
	}
}
