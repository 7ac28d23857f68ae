package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"wgkeys/deploy/lab"
)

// nothingLeft sees that hosts, repository and kernels hold the keys of now and
// nothing of those before, of which secrets are the private ones.
func (m *mesh) nothingLeft(secrets map[string]bool) {
	m.t.Helper()
	first := m.hosts[0]
	want := map[*lab.Host]string{}
	for _, h := range m.hosts {
		want[h] = strings.TrimSpace(m.read(first, "/root/net/keyring/"+h.Name()+"/wg0.pub"))
	}
	for _, h := range m.hosts {
		public, secret := m.keys(h)
		if secrets[secret] {
			m.t.Errorf("%s: the key file holds an old key", h.Name())
		}
		if file := strings.TrimSpace(m.must(h, "wg pubkey <"+keyFile)); public != want[h] || file != want[h] {
			m.t.Errorf("%s uses the key %s and has %s in its file; the keyring says %s", h.Name(), public, file, want[h])
		}
		peers := strings.Fields(m.must(h, "wg show wg0 peers"))
		slices.Sort(peers)
		if others := m.others(h, want); !slices.Equal(peers, others) {
			m.t.Errorf("%s's peers are %q, want %q", h.Name(), peers, others)
		}
		m.noSecret(h, secrets)
		m.nothingToDo(h)
	}
	if next := m.must(first, "find keyring vault -name '*.next.*'"); next != "" {
		m.t.Errorf("left in the repository: %s", next)
	}
	plain := m.must(first, "find vault -name '*.age' -exec age -d -i ~/.config/wgkeys/identity.txt '{}' ';'")
	for secret := range secrets {
		if strings.Contains(plain, secret) {
			m.t.Error("the vault holds an old key")
		}
	}
}

func (m *mesh) others(h *lab.Host, keys map[*lab.Host]string) []string {
	var others []string
	for _, o := range m.hosts {
		if o != h {
			others = append(others, keys[o])
		}
	}
	slices.Sort(others)
	return others
}

// noSecret looks for old private keys in all files that a host could have
// written: as wg(8) spells them, in hexadecimal as wireguard-go is told them, and
// as they are.
func (m *mesh) noSecret(h *lab.Host, secrets map[string]bool) {
	m.t.Helper()
	files := strings.Fields(m.must(h, "find /etc/wireguard /etc/wgkeys /run /root /tmp /var/tmp /var/lib/wgkeys -xdev -type f -size -1024k 2>/dev/null || true"))
	if !slices.Contains(files, keyFile) {
		m.t.Fatalf("the search on %s does not see %s", h.Name(), keyFile)
	}
	for _, path := range files {
		content, err := h.ReadFile(path)
		if err != nil {
			continue // gone since
		}
		for secret := range secrets {
			raw, err := base64.StdEncoding.DecodeString(secret)
			if err != nil {
				m.t.Fatal(err)
			}
			for _, spelling := range [][]byte{[]byte(secret), raw, []byte(hex.EncodeToString(raw))} {
				if bytes.Contains(content, spelling) {
					m.t.Errorf("%s: %s holds an old private key", h.Name(), path)
				}
			}
		}
	}
}

// nothingToDo sees that the host is as the repository says.
func (m *mesh) nothingToDo(h *lab.Host) {
	m.t.Helper()
	name := h.Name()
	if h == m.hosts[0] {
		name = ""
	}
	if r := m.run(m.hosts[0], "wgkeys plan "+name); r.code != 0 || r.stdout != "" {
		m.t.Errorf("%s: there is something to do after the rotation: exit %d\n%s%s", h.Name(), r.code, r.stdout, r.stderr)
	}
	if out := m.must(m.hosts[0], "wgkeys push "+h.Name()); !strings.HasSuffix(out, " unchanged\n") && !strings.Contains(out, " made its key itself\n") {
		m.t.Errorf("%s: push after the rotation says %q", h.Name(), out)
	}
}
