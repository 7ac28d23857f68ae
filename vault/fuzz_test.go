package vault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repeats reports whether what is said has a piece of a line that may be a secret: the end
// of a word that begins as an identity does, whatever its letters' case. What it has to begin
// with is no secret, nor is the path.
func repeats(said, text string) bool {
	const piece, identityPrefix = 12, "AGE-SECRET-KEY-"
	upper := strings.ToUpper(said)
	for _, word := range strings.Fields(strings.ToUpper(text)) {
		i := strings.LastIndex(word, identityPrefix)
		if i < 0 {
			continue
		}
		for secret := word[i+len(identityPrefix):]; len(secret) >= piece; secret = secret[1:] {
			if strings.Contains(upper, secret[:piece]) {
				return true
			}
		}
	}
	return false
}

// FuzzRecipients: of a list of recipients every line is a recipient or an error; none that
// is taken is read otherwise the second time, and no error repeats an identity that lies in
// the wrong file.
func FuzzRecipients(f *testing.F) {
	secret, x25519, err := generate(false)
	if err != nil {
		f.Fatal(err)
	}
	pqSecret, pq, err := generate(true)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		"# alice\n" + x25519 + "\n\n# bob\n" + pq + "\n", sshKey + " carol\n", secret + "\n", "# " + secret + "\n" + x25519,
		pqSecret, strings.ToLower(secret), "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t\n",
		"age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e\n", "<<<<<<< ours\n" + x25519 + "\n=======\n",
		"ssh-rsa AAAA\n", "ecdsa-sha2-nistp256 AAAA\n", "\xff\xfea\x00", x25519 + " " + secret,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v := Vault{Dir: filepath.Join(t.TempDir(), "vault")}
		path := filepath.Join(v.Dir, "recipients.txt")
		writeFile(t, path, string(text))
		rs, err := v.Recipients("shale")
		if err != nil {
			if repeats(err.Error(), string(text)) {
				t.Errorf("the error repeats a secret: %v", err)
			}
			return
		}
		for _, r := range rs {
			if repeats(r.String(), string(text)) {
				t.Errorf("a name repeats a secret: %v", r)
			}
			again := Recipient{File: path, Line: 1}
			if err := again.parse(r.Text); err != nil || again.Text != r.Text || again.Fingerprint != r.Fingerprint {
				t.Errorf("%q comes back as %q, %v", r.Text, again.Text, err)
			}
		}
	})
}

// FuzzIdentities: an identity file is read, or an error tells why without any of it.
func FuzzIdentities(f *testing.F) {
	for _, postQuantum := range []bool{false, true} {
		secret, recipient, err := generate(postQuantum)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte("# created: today\n" + secret + "\n"))
		f.Add([]byte(secret[:len(secret)-1] + "\n"))
		f.Add([]byte(strings.ToLower(secret) + "\n" + recipient))
	}
	f.Add([]byte("AGE-PLUGIN-YUBIKEY-1XQJQ5QYZ0L2PG7QZ3Z5LZ\n"))
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3Jn\n-----END AGE ENCRYPTED FILE-----\n"))
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 18\n\n--- AAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "identity.txt")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		found, loose, err := readIdentities(path)
		if loose != 0 {
			t.Errorf("others may read it: %v", loose)
		}
		said := found.String()
		if err != nil {
			said = err.Error()
		}
		if repeats(said, string(text)) || len(said) > 1000 {
			t.Errorf("%q repeats a secret", said)
		}
		if err == nil && found.empty() {
			t.Error("neither an identity nor an error")
		}
	})
}
