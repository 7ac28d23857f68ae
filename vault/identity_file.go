package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/vault/ageplugin"
)

// maxIdentities is the largest size of an identity file, in bytes.
const maxIdentities = 1 << 20

// A silent identity opens a file without asking the user: one of age's own, or an SSH key.
type silent struct {
	age.Identity
	recipient string // as a recipients file spells it; "" if it is not known
}

// Format shows nothing of the key under any verb: age's own identities print themselves.
func (silent) Format(s fmt.State, _ rune) { io.WriteString(s, "(identity)") }

// An identityFile is what identity files hold.
type identityFile struct {
	silent  []silent
	locked  []*locked
	plugins []pluginIdentity
}

func (f identityFile) empty() bool { return len(f.silent)+len(f.locked)+len(f.plugins) == 0 }

func (f *identityFile) add(g identityFile) {
	f.silent = append(slices.Clip(f.silent), g.silent...)
	f.locked = append(slices.Clip(f.locked), g.locked...)
	f.plugins = append(slices.Clip(f.plugins), g.plugins...)
}

func (f identityFile) String() string {
	switch n := len(f.silent) + len(f.plugins); {
	case len(f.locked) > 0:
		return "an identity under a passphrase"
	case n == 1:
		return "one identity"
	default:
		return fmt.Sprintf("%d identities", n)
	}
}

// read reads an identity file. It may be a pipe, as the shell's <(...) makes one, whose
// writer may never write.
func (i *Identities) read(path string) (found identityFile, loose os.FileMode, err error) {
	type read struct {
		found identityFile
		loose os.FileMode
	}
	r, err := ageplugin.Await(client(i.Asker), func() (r read, err error) {
		r.found, r.loose, err = readIdentities(path)
		return r, err
	})
	return r.found, r.loose, err
}

// readIdentities reads an identity file: age's own or an SSH private key. The mode is not
// zero if others than the owner can read the file.
func readIdentities(path string) (found identityFile, loose os.FileMode, err error) {
	f, err := os.Open(path)
	if err != nil {
		return found, 0, fault.Errno(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && files.HasModes && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		loose = info.Mode().Perm()
	}
	text, err := readBounded(f)
	if err != nil {
		return found, 0, err
	}
	found, err = parseIdentities(path, text)
	if len(found.locked) == 0 {
		clear(text)
	}
	return found, loose, err
}

func readBounded(f *os.File) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, maxIdentities+1))
	if err == nil && len(text) > maxIdentities {
		err = fmt.Errorf("larger than %d MiB", maxIdentities>>20)
	}
	return text, fault.Errno(err)
}

// parseIdentities never quotes the text, nor the errors of age and ssh, which do. A file
// with a passphrase keeps the text.
func parseIdentities(path string, text []byte) (identityFile, error) {
	switch trimmed := bytes.TrimSpace(text); {
	case bytes.HasPrefix(trimmed, []byte("age-encryption.org/")), bytes.HasPrefix(trimmed, []byte(armor.Header)):
		return parseEncrypted(path, text)
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN ")):
		return parseSSHIdentity(path, text)
	}
	found, err := parsePlain(files.Text(text))
	return found, files.Better(text, err)
}

func parseEncrypted(path string, text []byte) (found identityFile, err error) {
	file, err := dearmor(text)
	if err != nil {
		return found, err
	}
	var header stanzaReader
	if _, ok := errors.AsType[*age.NoIdentityMatchError](header.read(file)); !ok {
		return found, errors.New("its age header is cut short or changed")
	}
	if len(header.stanzas) != 1 || header.stanzas[0].Type != "scrypt" {
		return found, errSealed
	}
	return identityFile{locked: []*locked{{path: path, text: file}}}, nil
}

// parsePlain reads age's own form, one identity per line.
func parsePlain(text []byte) (found identityFile, err error) {
	lines := linesOf(text)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := found.parseLine(line); err != nil {
			return identityFile{}, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if lines.Err() != nil || found.empty() {
		return identityFile{}, errNone
	}
	return found, nil
}

func (f *identityFile) parseLine(line string) (err error) {
	var id silent
	switch {
	case strings.TrimSpace(line) != line:
		return errSpaces
	case strings.HasPrefix(line, "AGE-SECRET-KEY-1"):
		id, err = parseX25519(line)
	case strings.HasPrefix(line, "AGE-SECRET-KEY-PQ-1"):
		id, err = parseHybrid(line)
	case strings.HasPrefix(line, "AGE-PLUGIN-"):
		name, _, err := plugin.ParseIdentity(line)
		if err != nil {
			return errCharacter
		}
		f.plugins = append(f.plugins, pluginIdentity{name, line})
		return nil
	case strings.HasPrefix(line, "age1"), strings.HasPrefix(line, "ssh-"):
		return errRecipient
	case HoldsSecret(line):
		return errSmall
	default:
		return errOther
	}
	if err != nil {
		return errCharacter
	}
	f.silent = append(f.silent, id)
	return nil
}

func parseX25519(line string) (silent, error) {
	id, err := age.ParseX25519Identity(line)
	if err != nil {
		return silent{}, err
	}
	return silent{id, id.Recipient().String()}, nil
}

func parseHybrid(line string) (silent, error) {
	id, err := age.ParseHybridIdentity(line)
	if err != nil {
		return silent{}, err
	}
	return silent{id, id.Recipient().String()}, nil
}

var (
	errCharacter = errors.New("a character is wrong, missing or too many")
	errRecipient = errors.New("a recipient, not an identity")
	errSpaces    = errors.New("there is a space before or after the identity, and age takes none")
	errSmall     = errors.New("age takes identities in capital letters alone")
	errOther     = errors.New("an identity begins with AGE-SECRET-KEY- or AGE-PLUGIN-")
	errNone      = errors.New("no identity in it")
	errSealed    = errors.New("it is encrypted, but not under a passphrase")
	errNoSSH     = errors.New("no SSH key of type ed25519 or RSA")
	errWeakRSA   = errors.New("an RSA key of less than 2048 bits, which age does not take")
)
