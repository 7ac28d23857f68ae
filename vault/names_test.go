package vault

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestNobodyElsesName: a recipient that was added to the end of a list has its own name
// or none, whoever the comment above it names.
func TestNobodyElsesName(t *testing.T) {
	a, b := newRecipient(t, false), newRecipient(t, false)
	ecdsa := "ecdsa-sha2-nistp256 " +
		"AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBANVBwWexeL9l4j/Lauva25bC/2LXhoPkhv+Kv22R3FUNFqqP/OlpvZjTUmLBaK+CeRneKCTDPvV2J7rLF5R0yA="
	for name, test := range map[string]struct {
		list, name, above string // of the last one
	}{
		"appended": {"# alice\n" + a + "\n" + b + "\n", "", "alice"},
		"an SSH key with a comment": {"# alice\n" + a + "\n" + sshKey + " bob@example.net\n", "bob@example.net",
			"alice"},
		"an SSH key without one":         {"# alice\n" + a + "\n" + sshKey + "\n", "", "alice"},
		"in the place of another":        {"# alice\n" + sshKey + " bob@example.net\n", "bob@example.net", "alice"},
		"the comment above":              {"# alice\n" + a + "\n# bob\n" + b + "\n", "bob", "bob"},
		"after an empty line":            {"# alice\n" + a + "\n\n" + b + "\n", "", ""},
		"an SSH key below its comment":   {"# bob\n" + sshKey + "\n", "bob", "bob"},
		"of a machine that writes CR LF": {"# alice\r\n" + a + "\r\n" + b + "\r\n", "", "alice"},
	} {
		v := Vault{Dir: filepath.Join(t.TempDir(), "vault")}
		path := filepath.Join(v.Dir, "recipients.txt")
		writeFile(t, path, test.list)
		rs, err := v.Recipients("shale")
		past := RecipientsIn(path, []byte(test.list))
		if err != nil || len(past) != len(rs) {
			t.Errorf("%s: %d and %d, %v", name, len(rs), len(past), err)
			continue
		}
		for _, last := range []Recipient{rs[len(rs)-1], past[len(past)-1]} {
			if last.Name != test.name || last.Above != test.above {
				t.Errorf("%s: %q below %q", name, last.Name, last.Above)
			}
		}
	}
	for _, line := range []string{ecdsa + " bob@example.net",
		"ssh-dss AAAAB3NzaC1kc3MAAACBAJAMWMov7pLySh/CRpDPyVzW+40GVuhMavTGcHBChMiR5ZP1Gfro3Ywxb14op0rwEW1JGwNFO4r4NG3E9gZIYIOR8zv3NTjL0iodFs71cwZnbihbE9+6Kckh6jwSNexCyTViTLyaJbXe3nok512RTU6nM6rJnvMNHvIFjAEWff01AAAAFQDOEZKKgqmuhliD3q2EZRM93rLNRwAAAIBDSlkswe/X5KeODnbVG+W9sxA0yVQY3JY/9LwYMT1AlTJuTpNop3ISIZ5raydooSm2MhmZv8hf/M7mKe/KKH01a/oaSD1vIaPnuh+dBEN7OHOCADZgoMMlfPvGJbhH3xvHSbOkekDqIIZfb4ncY0VXhWts6jeSUrbbROEqfHpAPwAAAIBH1QNI+SZ9tGNBIQtvIMCq6xaHcA5BpjbpIuZd+M/DRE7w1umrGafotyMGQwtQtGbQSO3IDuAi6Jksxfr1m56QhLAk7GQHzhUc/6YunnHgj/LSJLlzK/NEZitAKptyL0hvmeA9FsN1hoUiBK1Jk0wrkZLtp+IbwOMfh3wU3y2oyA=="} {
		v := Vault{Dir: filepath.Join(t.TempDir(), "vault")}
		writeFile(t, filepath.Join(v.Dir, "recipients.txt"), a+"\n"+line+"\n")
		kind, _, _ := strings.Cut(line, " ")
		if _, err := v.Recipients("shale"); err == nil || !strings.Contains(err.Error(),
			`recipients.txt:2": an SSH key of a type that age cannot encrypt to: `+kind) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
