package vault

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// maxIdentities is the size of an identity file that is still read.
const maxIdentities = 1 << 20

// A Place is a path where an identity may be.
type Place struct {
	Path     string
	Why      string // why it is looked at: "-i", "WGKEYS_IDENTITY"
	Explicit bool   // the user named it: it has to be there and to be valid
}

// Identities are the identities of a run. The files are read once, when the
// first vault file is opened, in the order given. Several goroutines may share
// them.
type Identities struct {
	places []Place
	once   sync.Once
	ids    []age.Identity
	told   []string // of each place, what was found there
	loose  []*fault.Fault
	err    error
}

// FindIdentities returns the identities in places. It reads nothing yet.
func FindIdentities(places ...Place) *Identities {
	return &Identities{places: places}
}

// Warnings returns a fault for each identity file that others can read, of
// those that were read. It reads none, and is for the end of a run: no other
// goroutine may use i any more.
func (i *Identities) Warnings() []*fault.Fault { return i.loose }

// Recipients returns the recipients of those identities that are age's own, as
// a recipients file spells them.
func (i *Identities) Recipients() ([]string, error) {
	ids, err := i.load()
	var all []string
	for _, id := range ids {
		switch id := id.(type) {
		case *age.HybridIdentity:
			all = append(all, id.Recipient().String())
		case *age.X25519Identity:
			all = append(all, id.Recipient().String())
		}
	}
	return all, err
}

func (i *Identities) searched() []string {
	if len(i.told) == 0 {
		return []string{"nowhere: no identity file was named"}
	}
	return i.told
}

func (i *Identities) load() ([]age.Identity, error) {
	i.once.Do(func() {
		for _, p := range i.places {
			i.err = errors.Join(i.err, i.loadPlace(p))
		}
	})
	return i.ids, i.err
}

// loadPlace fails only for an explicit place; what it found in any other is
// told when no identity matches.
func (i *Identities) loadPlace(p Place) error {
	ids, loose, err := readIdentities(p.Path)
	what := fmt.Sprintf("%s (%s): ", p.Path, p.Why)
	if err != nil {
		i.told = append(i.told, what+err.Error())
		if p.Explicit {
			return fault.Wrap(err, "cannot use the identity file", p.Path, "age-keygen -y "+p.Path)
		}
		return nil
	}
	if loose != 0 {
		i.loose = append(i.loose, fault.New("others can read the identity file", p.Path,
			fmt.Sprintf("its mode is %04o", loose), "chmod 600 "+p.Path))
	}
	i.told = append(i.told, what+count(len(ids)))
	i.ids = append(i.ids, ids...)
	return nil
}

func count(n int) string {
	if n == 1 {
		return "one identity"
	}
	return fmt.Sprintf("%d identities", n)
}

// readIdentities reads an identity file: age's own or an SSH private key. The
// mode is not zero if others than the owner can read the file. A pipe, as the
// shell's <(...) makes one, is as good as a file.
func readIdentities(path string) (ids []age.Identity, loose os.FileMode, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fault.Errno(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		loose = info.Mode().Perm()
	}
	text, err := io.ReadAll(io.LimitReader(f, maxIdentities+1))
	defer clear(text)
	if err != nil {
		return nil, 0, fault.Errno(err)
	}
	if len(text) > maxIdentities {
		return nil, 0, fmt.Errorf("larger than %d MiB", maxIdentities>>20)
	}
	ids, err = parseIdentities(text)
	return ids, loose, err
}

// parseIdentities never quotes the text, nor the errors of age and ssh that do.
func parseIdentities(text []byte) ([]age.Identity, error) {
	switch trimmed := bytes.TrimSpace(text); {
	case bytes.HasPrefix(trimmed, []byte("age-encryption.org/")),
		bytes.HasPrefix(trimmed, []byte("-----BEGIN AGE ")):
		return nil, errors.New("an identity file under a passphrase is not supported")
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN ")):
		return parseSSHIdentity(text)
	}
	var ids []age.Identity
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, err := parseIdentity(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		ids = append(ids, id)
	}
	if lines.Err() != nil || len(ids) == 0 {
		return nil, errors.New("no identity in it")
	}
	return ids, nil
}

func parseIdentity(line string) (id age.Identity, err error) {
	switch {
	case strings.HasPrefix(line, "AGE-SECRET-KEY-1"):
		id, err = age.ParseX25519Identity(line)
	case strings.HasPrefix(line, "AGE-SECRET-KEY-PQ-1"):
		id, err = age.ParseHybridIdentity(line)
	case strings.HasPrefix(line, "AGE-PLUGIN-"):
		return nil, errors.New("identities of age plugins are not supported")
	case strings.HasPrefix(line, "age1"):
		return nil, errors.New("a recipient, not an identity")
	default:
		return nil, errors.New("an identity begins with AGE-SECRET-KEY-")
	}
	if err != nil {
		return nil, errors.New("a character is wrong, missing or too many")
	}
	return id, nil
}

func parseSSHIdentity(text []byte) ([]age.Identity, error) {
	id, err := agessh.ParseIdentity(text)
	if _, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		return nil, errors.New("an SSH key under a passphrase is not supported")
	}
	if err != nil {
		return nil, errors.New("no SSH key of type ed25519 or RSA")
	}
	return []age.Identity{id}, nil
}

// NewIdentity makes an identity and writes it to path as a new file of mode
// 0600, in the form of age-keygen(1). It returns the recipient. If there is a
// file already the error is [fs.ErrExist] and the file is left as it is.
func NewIdentity(path string, postQuantum bool, created time.Time) (recipient string, err error) {
	secret, recipient, err := generate(postQuantum)
	if err != nil {
		return "", err
	}
	text := fmt.Appendf(nil, "# created: %s\n# public key: %s\n%s\n", created.Format(time.RFC3339), recipient, secret)
	defer clear(text)
	if err := writeSecret(path, text); err != nil {
		return "", fault.Wrap(fault.Errno(err), "cannot make the identity file", path, "age-keygen -y "+path)
	}
	return recipient, nil
}

func generate(postQuantum bool) (secret, recipient string, err error) {
	if postQuantum {
		h, err := age.GenerateHybridIdentity()
		if err != nil {
			return "", "", err
		}
		return h.String(), h.Recipient().String(), nil
	}
	x, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", err
	}
	return x.String(), x.Recipient().String(), nil
}

// writeSecret has no temporary file: the secret would be in it.
func writeSecret(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = cmp.Or(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
		return err
	}
	return files.Sync(dir)
}
