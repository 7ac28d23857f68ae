// Package leak finds secrets in the clear in any text or binary file: WireGuard's private
// and preshared keys, age's identities, and the SSH keys that open the vault.
//
// 32 bytes in base64 may be a public key, a private key, or many other things. They are
// taken for a secret if they are known to be one, because their public key or fingerprint
// is known, or if the word before them says so, or if they are alone in a file. A key that
// the keyring has as a public one is not a secret. Text may be in UTF-16, in which Windows'
// programs write it, such as a PowerShell that is told to write into a file.
//
// What is compressed, encrypted, or encoded in another way is not found.
package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"wgkeys/keyring"
)

// Known is what is known about the repository's secrets; it contains none. Each has a text
// that tells the user whose it is.
type Known struct {
	Public map[keyring.PublicKey]string // the keyring's
	Sealed map[keyring.PublicKey]string // those that the vault has private keys of
	PSK    map[string]string            // fingerprints
	SSH    map[string]string            // recipients, as "ssh-ed25519 AAAA…"
	AnySSH bool                         // also report SSH keys of unknown owners
}

// A Kind of secret says what makes it worthless: another key, or another recipient.
type Kind int

// The kinds of secret.
const (
	privateKey Kind = iota // of WireGuard, or what may be one
	PresharedKey
	Identity // of age or SSH: it opens files of the vault
)

// A Hit is a secret in the clear. It holds no byte of the secret.
type Hit struct {
	Line int    // from 1
	Kind Kind   // of secret
	What string // "a private key", "an age identity"
	Of   string // whose it is, if that is known
	SSH  string // of an SSH key with an unknown owner: the recipient that belongs to it

	Alone bool // nothing but being alone in the text says that it is a secret
}

// Whose returns what it is and, if that is known, whose.
func (h Hit) Whose() string {
	if h.Of == "" {
		return h.What
	}
	return h.What + " " + h.Of
}

// maxSSH is a bound for the size of an SSH key file, in bytes.
const maxSSH = 32 << 10

// spelled is the length of a key in base64, with padding.
const spelled = 44

// Find returns the secrets in a file, in the order of their lines. Only the extension of
// its name matters: a public key may be alone in a file that ends in ".pub".
func (k *Known) Find(name string, text []byte) []Hit {
	if narrow := fromUTF16(text); narrow != nil {
		defer clear(narrow)
		text = narrow
	}
	f := finder{k, text, nil}
	f.keys(name)
	f.hex()
	f.identities()
	f.ssh()
	slices.SortStableFunc(f.hits, func(a, b Hit) int { return a.Line - b.Line })
	return f.hits
}

// fromUTF16 returns a text in UTF-16, of which a byte order mark or the first two characters
// tell, with a byte for each unit; nil if it is none. Secrets are ASCII, so another unit
// becomes a byte that none of them has.
func fromUTF16(text []byte) []byte {
	if len(text) < 4 {
		return nil
	}
	var high int // which byte of a unit is the high one
	switch {
	case text[0] == 0xff && text[1] == 0xfe, text[0] != 0 && text[1] == 0 && text[2] != 0 && text[3] == 0:
		high = 1
	case text[0] == 0xfe && text[1] == 0xff, text[0] == 0 && text[1] != 0 && text[2] == 0 && text[3] != 0:
		high = 0
	default:
		return nil
	}
	narrow := make([]byte, 0, len(text)/2)
	for i := 0; i+1 < len(text); i += 2 {
		c := text[i+1-high]
		if text[i+high] != 0 {
			c = 0xff
		}
		narrow = append(narrow, c)
	}
	return bytes.TrimLeft(narrow, "\xff") // the mark
}

type finder struct {
	*Known
	text []byte
	hits []Hit
}

func (f *finder) hit(at int, h Hit) {
	h.Line = 1 + bytes.Count(f.text[:at], []byte("\n"))
	f.hits = append(f.hits, h)
}

// keys examines the key before each padding character.
func (f *finder) keys(name string) {
	for at := 0; ; {
		i := bytes.IndexByte(f.text[at:], '=')
		if i < 0 {
			return
		}
		at += i + 1
		start := at - spelled
		if start < 0 || !f.isKey(start, at) {
			continue
		}
		if h, ok := f.judge(name, start); ok {
			f.hit(start, h)
		}
	}
}

// isKey reports whether text[start:end], which ends in padding, is the base64 of exactly 32
// bytes.
func (f *finder) isKey(start, end int) bool {
	if end < len(f.text) && (f.text[end] == '=' || inBase64(f.text[end])) || start > 0 && inBase64(f.text[start-1]) {
		return false
	}
	for i := end - 2; i >= start; i-- {
		if !inBase64(f.text[i]) {
			return false
		}
	}
	_, err := keyring.ParsePresharedKey(f.text[start:end])
	return err == nil
}

func inBase64(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '+' || c == '/'
}

// judge decides whether the key at start is a secret, and of what kind.
func (f *finder) judge(name string, start int) (Hit, bool) {
	key := f.text[start : start+spelled]
	public, err := keyring.ParsePublicKey(key)
	published := err == nil && f.Public[public] != ""
	if published && f.Sealed[public] != "" {
		return Hit{}, false // the vault, too, has it as the public key of another private one
	}
	if h, ok := f.certain(key); ok {
		return h, true
	}
	if published {
		return Hit{}, false
	}
	if h, ok := labelled(f.text[:start]); ok {
		return h, true
	}
	alone := len(bytes.TrimSpace(f.text)) == spelled && !strings.HasSuffix(name, ".pub")
	return Hit{Kind: privateKey, What: "a key that stands alone", Alone: true}, alone
}

// certain identifies a key whose public key or fingerprint is known.
func (f *finder) certain(key []byte) (Hit, bool) {
	if private, err := keyring.ParsePrivateKey(key); err == nil {
		public := private.PublicKey()
		if of := f.Public[public]; of != "" {
			return Hit{Kind: privateKey, What: "the private key", Of: of}, true
		}
		if of := f.Sealed[public]; of != "" {
			return Hit{Kind: privateKey, What: "the private key", Of: of}, true
		}
	}
	if len(f.PSK) == 0 {
		return Hit{}, false
	}
	if psk, err := keyring.ParsePresharedKey(key); err == nil {
		if of := f.PSK[psk.Fingerprint()]; of != "" {
			return Hit{Kind: PresharedKey, What: "the preshared key", Of: of}, true
		}
	}
	return Hit{}, false
}

// labels are the names of secrets in wg-quick, systemd-networkd, NetworkManager, NixOS,
// uci, JSON and YAML, in lower case and without separators.
var labels = []struct {
	word string
	hit  Hit
}{
	{"privatekey", Hit{Kind: privateKey, What: "a private key"}},
	{"presharedkey", Hit{Kind: PresharedKey, What: "a preshared key"}},
	{"psk", Hit{Kind: PresharedKey, What: "a preshared key"}},
}

// maxLabel is how far before a key its label is looked for, in bytes.
const maxLabel = 64

func labelled(before []byte) (Hit, bool) {
	if len(before) > maxLabel {
		before = before[len(before)-maxLabel:]
	}
	if i := bytes.LastIndexByte(before, '\n'); i >= 0 {
		before = before[i+1:]
	}
	before = bytes.TrimRight(before, " \t\"'`=:>([{\\\x00")
	word := bytes.Map(func(r rune) rune {
		if strings.ContainsRune("_-. \x00", r) {
			return -1
		}
		return r
	}, bytes.ToLower(before))
	for _, l := range labels {
		if bytes.HasSuffix(word, []byte(l.word)) {
			return l.hit, true
		}
	}
	return Hit{}, false
}

// hex finds keys in the hexadecimal form of a userspace WireGuard device's configuration
// protocol.
func (f *finder) hex() {
	f.hexKeys("private_key=", Hit{Kind: privateKey, What: "a private key"})
	f.hexKeys("preshared_key=", Hit{Kind: PresharedKey, What: "a preshared key"})
}

func (f *finder) hexKeys(word string, as Hit) {
	for at := 0; ; {
		i := bytes.Index(f.text[at:], []byte(word))
		if i < 0 {
			return
		}
		at += i + len(word)
		f.hexKey(at, as)
	}
}

func (f *finder) hexKey(at int, as Hit) {
	var key [32]byte
	const digits = 2 * len(key)
	if len(f.text) < at+digits {
		return
	}
	if _, err := hex.Decode(key[:], f.text[at:at+digits]); err != nil || key == [32]byte{} {
		return // the zero key means none
	}
	if certain, ok := f.certain([]byte(base64.StdEncoding.EncodeToString(key[:]))); ok {
		as = certain
	}
	f.hit(at, as)
}

// identities finds age identities. A placeholder such as AGE-SECRET-KEY-1... is none.
func (f *finder) identities() {
	const prefix = "AGE-SECRET-KEY-"
	for at := 0; ; {
		i := bytes.Index(f.text[at:], []byte(prefix))
		if i < 0 {
			return
		}
		start := at + i
		at = start + len(prefix)
		for at < len(f.text) && (f.text[at] == '-' || 'A' <= f.text[at] && f.text[at] <= 'Z' || '0' <= f.text[at] &&
			f.text[at] <= '9') {
			at++
		}
		word := string(f.text[start:at])
		_, classic := age.ParseX25519Identity(word)
		_, hybrid := age.ParseHybridIdentity(word)
		if classic == nil || hybrid == nil {
			f.hit(start, Hit{Kind: Identity, What: "an age identity"})
		}
	}
}

// ssh finds SSH keys without a passphrase that open the vault. Others are not reported,
// unless the caller can find out whether they ever did.
func (f *finder) ssh() {
	if len(f.SSH) == 0 && !f.AnySSH {
		return
	}
	begin, end := []byte("-----BEGIN "), []byte("PRIVATE KEY-----")
	for at := 0; ; {
		i := bytes.Index(f.text[at:], begin)
		if i < 0 {
			return
		}
		start := at + i
		at = start + len(begin)
		head := bytes.Index(f.text[at:], end)
		if head < 0 {
			return
		}
		if head > 16 { // no key begins here
			continue
		}
		// Search to the end of the key only: with many beginnings each search would otherwise
		// go to the end of the file.
		rest := f.text[start:min(len(f.text), start+maxSSH)]
		signer, err := ssh.ParsePrivateKey(rest)
		if err != nil {
			continue
		}
		spelled := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
		switch of := f.SSH[spelled]; {
		case of != "":
			f.hit(start, Hit{Kind: Identity, What: "the SSH key", Of: of})
		case f.AnySSH:
			f.hit(start, Hit{Kind: Identity, What: "the SSH key", SSH: spelled})
		}
	}
}
