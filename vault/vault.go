// Package vault keeps WireGuard's private and preshared keys, each in a file of
// its own, encrypted with age (https://age-encryption.org/v1).
//
//	vault/recipients.txt             who can decrypt; # comments name people
//	vault/shale/recipients.txt       more recipients for this host, optional
//	vault/shale/recipients.only.txt  the only ones of this host, instead of both
//	vault/shale/wg0.key.age          the private key of shale in wg0
//	vault/shale/wg0.basalt.psk.age   the PSK that shale shares with basalt
//	vault/shale/wg0.next.key.age     the key that shale is changing to, in the middle of a rotation
//
// A next key is sealed as what it is going to be: its metadata says wg0.key. So
// the end of a rotation is a rename over wg0.key.age and nothing else, see
// [Vault.Promote], and needs no identity.
//
// A host may make its key itself and keep it: then it has a public key in the keyring and
// no vault file. A lost vault file looks the same, until the host is asked for its key.
//
// A host with a recipients.only.txt keeps its secrets to itself: they are encrypted to the
// lines of that file and to no others. All code reads the lists through [Lists.Of], so a
// rekey and a check keep to it.
//
// # Promises
//
// What a vault file decrypts to is the key file byte for byte, one line of
// base64 and its newline: "age -d -i ID vault/shale/wg0.key.age | wg pubkey"
// prints what keyring/shale/wg0.pub holds, and no tool of ours is needed.
//
// A secret is never on disk in the clear. Temporary files hold ciphertext, have
// mode 0600 from birth, and are synced before they get their name. A seal never
// overwrites a file; of two that race exactly one wins.
//
// Nothing is returned before it was compared. age neither says who encrypted a file nor
// binds it to its name, so whoever can write to the repository can swap two files or put
// his own in their place. After every decryption the public key is derived and compared
// with the keyring's and with the file's own metadata, and the metadata with the path.
//
// No error holds a byte of a secret, nor of a file that might be one: the errors of age
// quote what they could not parse, so they are replaced by our own.
//
// # Limits
//
// The metadata is authenticated only when the file is opened. Before that it serves to find
// stale files, and must not be trusted. Anyone who can open a file can also forge it. A
// preshared key has no public half: if it is replaced in the folders of both hosts, that is
// not noticed here. An old file with the same key that was put back opens. The buffers of
// this package are wiped; those of age and those that the garbage collector has not reused
// yet are not.
//
// # Format
//
// A vault file is an age v1 file, ASCII-armored, of at most 64 KiB. Its
// recipients are those of the two recipients.txt files, in that order, each
// once. One stanza in the header, anywhere, is the metadata:
//
//	-> wgkeys 1 shale wg0.key 6PbMK0…0nc= 2026-01-02T15:04:05Z
//	q83vEjRWeJASNFZ4kBI0Vg
//
// Its arguments are
//
//  1. the version of this format, 1;
//  2. the host's name: ASCII letters in lower case, digits, "_" and "-", not
//     beginning with the last, at most 63 bytes;
//  3. the name of the file as it is installed on the host, without ".age", and
//     for a next key without ".next". It ends in ".key" for a private key and in
//     ".psk" for a preshared key. It consists of ASCII letters, digits and
//     "_=+.-", does not begin with one of the last two, and has at most 128 bytes;
//  4. for a private key its public key in the base64 of wg(8); for a preshared
//     key its fingerprint, the 64 hexadecimal characters in lower case that
//     { echo wgkeys psk; cat wg0.basalt.psk; } | sha256sum
//     prints, so that the two hosts' copies of the key can be compared without
//     showing it;
//  5. the time when the key was made (not when it was encrypted), in UTC, as
//     in RFC 3339 with seconds, "Z" and nothing else.
//
// Its body is the concatenation of 16 bytes for each recipient, in the order of
// their stanzas, no two alike: the start of the SHA-256 of the recipient as its
// file spells it, in lower case for age's own ("age1…", "age1pq1…") and without
// options and comment for SSH keys ("ssh-ed25519 AAAA…"). There is at least
// one, and there are no fewer stanzas of other types.
//
// There is one spelling of everything above, and a reader refuses every other: a second
// such stanza, an extra argument, "+00:00" for "Z". A reader refuses an unknown version.
// The age specification tells programs to ignore unknown stanzas, and age's header MAC
// covers this one like all others.
//
// # Other implementations
//
// Files sealed here were opened with age 1.1.1 (X25519), age 1.3.2 and typage
// 0.3.1, npm's age-encryption (both X25519 and hybrid post-quantum). In the
// other direction, a file that stock age encrypted
// has no metadata: [Vault.Meta] fails with [ErrNoMeta], but it opens like any
// other if the key in it is the one that the caller expects, and a [Rekey] takes it
// in: a private key if the keyring has its public one, a preshared key if the other
// host's file has the same, or if there is none. Whoever could have such a file taken
// in could as well forge metadata. Binary age files are read, never written.
package vault

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/words"
)

const (
	suffix     = ".age"
	keySuffix  = ".key"
	pskSuffix  = ".psk"
	nextSuffix = ".next" + keySuffix

	maxFile = 64 << 10
)

// The reasons for which a vault file is not opened, for errors.Is. In addition there are
// [fs.ErrNotExist] and [fs.ErrExist].
var (
	errDamaged    = errors.New("no intact vault file")
	errMismatch   = errors.New("not the file that belongs here")
	ErrNoIdentity = errors.New("no identity opens it")
	ErrNoMeta     = errors.New("it has no metadata, since wgkeys did not make it")
)

// A Name is that of a vault file, which is named as on its host.
type Name struct{ Host, File string }

// A Vault is the vault of one repository: its folder, normally "vault". The folder above it
// is the repository, and no symbolic link out of that is followed.
type Vault struct {
	Dir      string
	Asker    Asker           // for age plugins that ask something when they encrypt; nil: there is no user to ask
	Snapshot *files.Snapshot // read instead of the disk, as far as it goes; nil: nothing

	Shared fs.FileMode // the bits of its mode that a file gets besides, for others

	// Commands are those about the tunnel of a file that is named as on the host; nil: there
	// is no more than one.
	Commands func(file string) words.Commands
}

// toRun is the command line of a verb about a file of a host.
func toRun(v Vault, verb, host, file string) string {
	var in words.Commands
	if v.Commands != nil {
		in = v.Commands(file)
	}
	return in.Run(verb, host)
}

// toGen is what to do about a file that a host lacks.
func toGen(v Vault, host, file string) string {
	var in words.Commands
	if v.Commands != nil {
		in = v.Commands(file)
	}
	return in.Gen(host)
}

func (v Vault) repository() string { return filepath.Dir(v.Dir) }

// Path returns the vault file of host's file, which is named as on the host:
// "wg0.key", "wg0.next.key", "wg0.basalt.psk".
func (v Vault) Path(host, file string) string {
	return files.Below(v.Dir, host, file+suffix)
}

// Hosts returns the hosts that have a folder, sorted.
func (v Vault) Hosts() ([]string, error) {
	entries, err := v.Snapshot.List(v.repository(), v.Dir)
	return names(entries, err, v.Dir, "", func(e fs.DirEntry) (string, bool) {
		return e.Name(), e.IsDir() && keyring.CheckHost(e.Name()) == nil
	})
}

// Holds reports whether path is that of a vault file, as [Vault.Hosts] and [Vault.List]
// find it.
func (v Vault) Holds(path string) bool {
	dir, name := filepath.Split(path)
	above, host := filepath.Split(filepath.Clean(dir))
	return filepath.Clean(above) == filepath.Clean(v.Dir) && keyring.CheckHost(host) == nil && isVaultFile(name)
}

// List returns the files in host's folder, named as on the host, sorted.
func (v Vault) List(host string) ([]string, error) {
	if err := checkHost(host); err != nil {
		return nil, err
	}
	entries, err := v.Snapshot.ListIn(v.repository(), v.Dir, host)
	return names(entries, err, v.Dir, host, func(e fs.DirEntry) (string, bool) {
		file, ok := strings.CutSuffix(e.Name(), suffix)
		return file, ok && validFile(file)
	})
}

// names returns the names that pick finds in the entries of a folder in dir, sorted. A
// folder that does not exist has none.
func names(entries []fs.DirEntry, err error, dir, folder string,
	pick func(fs.DirEntry) (string, bool)) ([]string, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.WrapFile(err, "cannot read the vault", filepath.Join(dir, folder), "")
	}
	found := make([]string, 0, len(entries))
	for _, e := range entries {
		if name, ok := pick(e); ok {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	return found, nil
}

// Lacks reports whether the snapshot knows that host has no such file.
func (v Vault) Lacks(host, file string) bool {
	return checkNames(host, file) == nil && v.Snapshot.Lacks(v.Dir, host, file+suffix)
}

// validFile reports whether s can be the name of a key file: it stays in its folder, is an
// argument of an age stanza and never looks like an option. The characters are those that
// wg-quick(8) allows in an interface's name.
func validFile(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		if !letter && !digit && strings.IndexByte("_=+.-", c) < 0 {
			return false
		}
	}
	return strings.HasSuffix(s, keySuffix) || strings.HasSuffix(s, pskSuffix)
}

// isVaultFile reports whether s can be the name of a vault file.
func isVaultFile(name string) bool {
	file, ok := strings.CutSuffix(name, suffix)
	return ok && validFile(file)
}

func checkHost(host string) error {
	if err := keyring.CheckHost(host); err != nil {
		return fault.WrapHost(err, "no host can be named", host, "")
	}
	return nil
}

func checkNames(host, file string) error {
	if err := checkHost(host); err != nil {
		return err
	}
	if validFile(file) {
		return nil
	}
	return fault.New("no key file can be named", file,
		`its name is letters, digits and "_=+.-", and ends with ".key" or ".psk"`, "")
}
