package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// nothingLeft sees that hosts, repository and kernels hold the keys of now and
// nothing of those before, of which secrets are the private ones.
func nothingLeft(m *labtest.Mesh, secrets map[string]bool) {
	m.Helper()
	first := m.Hosts[0]
	want := map[*lab.Host]string{}
	for _, h := range m.Hosts {
		want[h] = strings.TrimSpace(m.Read(first, "/root/net/keyring/"+h.Name()+"/wg0.pub"))
	}
	for _, h := range m.Hosts {
		public, secret := keysOf(m, h)
		if secrets[secret] {
			m.Errorf("%s: the key file holds an old key", h.Name())
		}
		if file := strings.TrimSpace(m.Must(h, "wg pubkey <"+keyFile)); public != want[h] || file != want[h] {
			m.Errorf("%s uses the key %s and has %s in its file; the keyring says %s", h.Name(), public, file, want[h])
		}
		peers := strings.Fields(m.Must(h, "wg show wg0 peers"))
		slices.Sort(peers)
		if others := keysOfOthers(m, h, want); !slices.Equal(peers, others) {
			m.Errorf("%s's peers are %q, want %q", h.Name(), peers, others)
		}
		noSecret(m, h, secrets)
		nothingToDo(m, h)
	}
	if next := m.Must(first, "find keyring vault -name '*.next.*'"); next != "" {
		m.Errorf("left in the repository: %s", next)
	}
	plain := m.Must(first, "find vault -name '*.age' -exec age -d -i ~/.config/wgkeys/identity.txt '{}' ';'")
	for secret := range secrets {
		if strings.Contains(plain, secret) {
			m.Error("the vault holds an old key")
		}
	}
}

func keysOfOthers(m *labtest.Mesh, h *lab.Host, keys map[*lab.Host]string) []string {
	var others []string
	for _, o := range m.Hosts {
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
func noSecret(m *labtest.Mesh, h *lab.Host, secrets map[string]bool) {
	m.Helper()
	files := strings.Fields(m.Must(h, "find /etc/wireguard /etc/wgkeys /run /root /tmp /var/tmp /var/lib/wgkeys -xdev -type f -size -1024k 2>/dev/null || true"))
	if !slices.Contains(files, keyFile) {
		m.Fatalf("the search on %s does not see %s", h.Name(), keyFile)
	}
	for _, path := range files {
		content, err := h.ReadFile(path)
		if err != nil {
			continue // gone since
		}
		for secret := range secrets {
			raw, err := base64.StdEncoding.DecodeString(secret)
			if err != nil {
				m.Fatal(err)
			}
			for _, spelling := range [][]byte{[]byte(secret), raw, []byte(hex.EncodeToString(raw))} {
				if bytes.Contains(content, spelling) {
					m.Errorf("%s: %s holds an old private key", h.Name(), path)
				}
			}
		}
	}
}

// nothingToDo sees that the host is as the repository says.
func nothingToDo(m *labtest.Mesh, h *lab.Host) {
	m.Helper()
	name := h.Name()
	if h == m.Hosts[0] {
		name = ""
	}
	if r := m.Run(m.Hosts[0], "wgkeys plan "+name); r.Code != 0 || r.Stdout != "" {
		m.Errorf("%s: there is something to do after the rotation: exit %d\n%s%s", h.Name(), r.Code, r.Stdout, r.Stderr)
	}
	if out := m.Must(m.Hosts[0], "wgkeys push "+h.Name()); !strings.HasSuffix(out, " unchanged\n") && !strings.Contains(out, " made its key itself\n") {
		m.Errorf("%s: push after the rotation says %q", h.Name(), out)
	}
}
