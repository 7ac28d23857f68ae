//go:build amd64

package faulttest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/cmd/internal/check"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/vault"
)

// identities returns flags with the identities that have to open every file.
func (s *Sweep) identities() []string {
	if s.Bob == "" {
		return []string{"-i", s.Alice}
	}
	return []string{"-i", s.Alice, "-i", s.Bob}
}

// findings returns the findings of wgkeys check with every file opened.
func (s *Sweep) findings(work string) []check.Finding {
	s.Helper()
	if _, err := os.Stat(filepath.Join(work, repo.Marker)); err != nil {
		return nil // no repository yet
	}
	cmd := exec.Command("wgkeys", append([]string{"check", "--json", "-C", work}, s.identities()...)...)
	out, err := cmd.Output()
	var found []check.Finding
	code := cmd.ProcessState.ExitCode()
	if jsonErr := json.Unmarshal(out, &found); jsonErr != nil || code != ui.ExitDone && code != ui.ExitFindings ||
		code == ui.ExitDone != (len(found) == 0) {
		s.Fatalf("check: %v, %v%s", err, jsonErr, said(err))
	}
	return slices.DeleteFunc(found, func(f check.Finding) bool { // the Keeper's private key is not in the vault
		return s.Keeper != "" && f.Check == "key" && f.File == "keyring/"+s.Keeper+"/wg0.pub"
	})
}

// left returns the temporary files that are left.
func (s *Sweep) left(work string) (left []string) {
	s.Helper()
	err := filepath.WalkDir(work, func(path string, _ fs.DirEntry, err error) error {
		if name := filepath.Base(path); strings.HasPrefix(name, ".") && name != ".gitattributes" {
			left = append(left, path)
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return left
}

// keys returns the public keys that somebody could be using by now, with their hosts: those
// of the keyring, and those of the private keys in the vault. It leaves out a key that a
// rotation is replacing, because its hosts have the next one.
func (s *Sweep) keys(work string) map[string]string {
	s.Helper()
	keys := map[string]string{}
	for _, path := range labtest.Glob(s.T, work, "keyring/*/*.pub") {
		text, err := os.ReadFile(path)
		if err != nil {
			s.Fatal(err)
		}
		if host := hostOf(path); !replaced(path) && host != s.Keeper {
			keys[strings.TrimSpace(string(text))] = host
		}
	}
	v := vault.Vault{Dir: filepath.Join(work, "vault")}
	for _, path := range labtest.Glob(s.T, work, "vault/*/*.age") {
		m, err := v.Meta(hostOf(path), strings.TrimSuffix(filepath.Base(path), ".age"))
		if err != nil {
			s.Error(err)
		}
		public := filepath.Join(work, "keyring", hostOf(path), strings.TrimSuffix(filepath.Base(path), ".key.age")+".pub")
		if err == nil && m.PSK == "" && !replaced(public) && hostOf(path) != s.Keeper {
			keys[m.PublicKey.String()] = m.Host
		}
	}
	return keys
}

func hostOf(path string) string { return filepath.Base(filepath.Dir(path)) }

// replaced reports whether the hosts have finished a rotation, so that nobody uses the key
// in path any more.
func replaced(path string) bool {
	_, err := os.Stat(strings.TrimSuffix(path, ".pub") + ".next.pub")
	return err == nil
}

// kept fails the test if a key that was in use is gone.
func (s *Sweep) kept(where string, before, after map[string]string) {
	s.Helper()
	for key, host := range before {
		if after[key] != host {
			s.Errorf("%s: the key %s of %s is lost", where, key, host)
		}
	}
}

// open decrypts every vault file with stock age. Each public key in the keyring must have
// its private key in the vault, according to wg(8).
func (s *Sweep) open(where, work string) {
	s.Helper()
	opened, psks := map[string]bool{}, map[string]string{}
	for _, path := range labtest.Glob(s.T, work, "vault/*/*.age") {
		text, err := exec.Command("age", append(s.identities(), "-d", path)...).Output()
		if err != nil {
			s.Errorf("%s: %s does not open: %v%s", where, path, err, said(err))
			continue
		}
		if strings.HasSuffix(path, ".psk.age") {
			host, peer := hostOf(path), strings.Split(filepath.Base(path), ".")[1]
			if other, ok := psks[peer+" "+host]; ok && other != string(text) {
				s.Errorf("%s: %s is not the key that %s has", where, path, peer)
			}
			psks[host+" "+peer] = string(text)
			continue
		}
		c := exec.Command("wg", "pubkey")
		c.Stdin = strings.NewReader(string(text))
		public, err := c.Output()
		if err != nil {
			s.Errorf("%s: %s: wg pubkey: %v", where, path, err)
		}
		opened[strings.TrimSpace(string(public))] = true
	}
	for _, path := range labtest.Glob(s.T, work, "keyring/*/*.pub") {
		if hostOf(path) == s.Keeper || replaced(path) {
			continue
		}
		if text, err := os.ReadFile(path); err != nil || !opened[strings.TrimSpace(string(text))] {
			s.Errorf("%s: the private key of %s is lost (%v)", where, path, err)
		}
	}
}

// Missing reports whether f is about a file that does not exist.
func Missing(work string, f check.Finding) bool {
	_, err := os.Lstat(filepath.Join(work, f.File))
	return f.File != "" && os.IsNotExist(err)
}

// Opens returns an error unless each identity opens all seven files, or none of them, as
// want says.
func (s *Sweep) Opens(work string, want map[string]bool) error {
	paths := labtest.Glob(s.T, work, "vault/*/*.age")
	if len(paths) != 7 {
		return fmt.Errorf("there are %q", paths)
	}
	for identity, does := range want {
		for _, path := range paths {
			if out, err := exec.Command("age", "-d", "-o", "/dev/null", "-i", identity,
				path).CombinedOutput(); (err == nil) != does {
				return fmt.Errorf("%s opens %s: %v, want %v\n%s", identity, path, err == nil, does, out)
			}
		}
	}
	return nil
}
