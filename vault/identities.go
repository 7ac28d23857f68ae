package vault

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"
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
// first vault file is opened, in the order given. Those that ask nobody are
// tried before those under a passphrase, and these before those of age plugins.
// Several goroutines may share them.
type Identities struct {
	Asker Asker // asks for passphrases; nil: nobody does

	places []Place
	once   sync.Once
	told   []string // of each place, what was found there
	loose  []*fault.Fault
	used   atomic.Bool
	err    error

	talk   sync.Mutex // held while a person or a plugin is asked
	mu     sync.RWMutex
	found  identityFile
	opened map[[sha256.Size]byte]opened // by plugins
}

// A silent identity opens a file without asking anybody: one of age's own, or an SSH
// key.
type silent struct {
	age.Identity
	recipient string // as a recipients file spells it; "" if it is not told
}

// Format shows nothing of the key, whatever the verb: age's own identities print
// themselves.
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

// FindIdentities returns the identities in places. It reads nothing yet.
func FindIdentities(places ...Place) *Identities {
	return &Identities{places: places, opened: map[[sha256.Size]byte]opened{}}
}

// Warnings returns a fault for each identity file that others can read, of
// those that were used, and for each that was named and cannot be used, where others
// took its place. It reads none, and is for the end of a run: no other
// goroutine may use i any more.
func (i *Identities) Warnings() []*fault.Fault {
	if !i.used.Load() {
		return nil
	}
	all := slices.Clone(i.loose)
	if i.use() == nil {
		fault.Each(i.err, func(f *fault.Fault) { all = append(all, f) })
	}
	return all
}

// Recipients returns the recipients of those identities that tell them, as a
// recipients file spells them: age's own under no passphrase, and SSH keys.
func (i *Identities) Recipients() ([]string, error) {
	i.used.Store(true)
	i.load()
	err := i.err // of one that was named, though others are there
	var all []string
	for _, id := range i.found.silent {
		if id.recipient != "" {
			all = append(all, id.recipient)
		}
	}
	for _, l := range i.found.locked {
		if l.public != nil && !l.beside {
			all = append(all, authorized(l.public))
		}
	}
	return all, err
}

// Found tells whether there is an identity, of whatever kind, where it was looked for.
func (i *Identities) Found() bool {
	i.load()
	i.mu.RLock()
	defer i.mu.RUnlock()
	return !i.found.empty()
}

// Untold tells whether there is an identity whose recipient [Identities.Recipients]
// does not know.
func (i *Identities) Untold() bool {
	return len(i.found.plugins) > 0 || slices.ContainsFunc(i.found.locked, func(l *locked) bool { return l.public == nil || l.beside })
}

func (i *Identities) searched() []string {
	if len(i.told) == 0 {
		return []string{"nowhere: no identity file was named"}
	}
	return i.told
}

func (i *Identities) use() error {
	i.used.Store(true)
	i.load()
	if i.found.empty() || errors.Is(i.err, ErrInterrupted) {
		return i.err
	}
	return nil
}

func (i *Identities) load() {
	i.once.Do(func() {
		for _, p := range i.places {
			i.err = errors.Join(i.err, i.loadPlace(p))
		}
	})
}

// loadPlace fails only for an explicit place; what it found in any other is
// told when no identity matches.
func (i *Identities) loadPlace(p Place) error {
	if HoldsSecret(p.Path) { // the usual slip in a variable; it is not to be shown
		i.told = append(i.told, p.Why+": no name of a file")
		return fault.New("an identity itself, and not the name of its file, is the value of", p.Why, "", "write it to a file of mode 0600 and name that")
	}
	found, loose, err := i.read(p.Path)
	what := fmt.Sprintf("%s (%s): ", p.Path, p.Why)
	if err != nil {
		i.told = append(i.told, what+err.Error())
		if p.Explicit {
			return fault.Wrap(err, "cannot use the identity file", p.Path, identityHint(p.Path, err))
		}
		return nil
	}
	if loose != 0 {
		i.loose = append(i.loose, fault.New("others can read the identity file", p.Path,
			fmt.Sprintf("its mode is %04o", loose), "chmod 600 "+p.Path))
	}
	i.told = append(i.told, what+found.String())
	i.found.add(found)
	return nil
}

// HoldsSecret tells whether a text has an identity or a private key in it, which are
// not to be shown to anybody.
func HoldsSecret(text string) bool {
	upper := strings.ToUpper(text)
	return strings.Contains(upper, "AGE-SECRET-KEY-") || strings.Contains(upper, "AGE-PLUGIN-") || strings.Contains(upper, "PRIVATE KEY-----") || wireguardKey().MatchString(text)
}

var wireguardKey = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`[A-Za-z0-9+/]{43}=`)
})

func identityHint(path string, err error) string {
	switch {
	case errors.Is(err, ErrInterrupted):
		return ""
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, errSilent):
		return "ls -l " + path
	case errors.Is(err, errNoSSH), errors.Is(err, errWeakRSA):
		return "ssh-keygen -t ed25519 makes one"
	case errors.Is(err, errRecipient):
		return "name the file of the private key"
	}
	return "age-keygen -y " + path
}

// read reads an identity file. A pipe, as the shell's <(...) makes one, is as good as a
// file, but who writes into it may never come.
func (i *Identities) read(path string) (found identityFile, loose os.FileMode, err error) {
	type read struct {
		found identityFile
		loose os.FileMode
	}
	r, err := waited(ended(i.Asker), func() (r read, err error) {
		r.found, r.loose, err = readIdentities(path)
		return r, err
	})
	return r.found, r.loose, err
}

// readIdentities reads an identity file: age's own or an SSH private key. The
// mode is not zero if others than the owner can read the file.
func readIdentities(path string) (found identityFile, loose os.FileMode, err error) {
	f, err := os.Open(path)
	if err != nil {
		return found, 0, fault.Errno(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
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

// readBeside reads the public key beside an SSH key.
func readBeside(path string) (ssh.PublicKey, error) {
	f, err := os.OpenFile(path+".pub", os.O_RDONLY|syscall.O_NONBLOCK, 0) // of a FIFO nobody waits for the writer
	if err != nil {
		return nil, err
	}
	defer f.Close()
	line, err := readBounded(f)
	if err != nil {
		return nil, err
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(line)
	return public, err
}

// parseIdentities never quotes the text, nor the errors of age and ssh that do.
// A file under a passphrase keeps the text.
func parseIdentities(path string, text []byte) (identityFile, error) {
	switch trimmed := bytes.TrimSpace(text); {
	case bytes.HasPrefix(trimmed, []byte("age-encryption.org/")), bytes.HasPrefix(trimmed, []byte(armor.Header)):
		return parseEncrypted(path, text)
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN ")):
		return parseSSHIdentity(path, text)
	}
	return parsePlain(text)
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
		return found, errors.New("it is encrypted, but not under a passphrase")
	}
	return identityFile{locked: []*locked{{path: path, text: file}}}, nil
}

// parsePlain reads age's own form, one identity a line.
func parsePlain(text []byte) (found identityFile, err error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
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
		return identityFile{}, errors.New("no identity in it")
	}
	return found, nil
}

func (f *identityFile) parseLine(line string) (err error) {
	var id silent
	switch {
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
	default:
		return errors.New("an identity begins with AGE-SECRET-KEY- or AGE-PLUGIN-")
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
	errNoSSH     = errors.New("no SSH key of type ed25519 or RSA")
	errWeakRSA   = errors.New("an RSA key of less than 2048 bits, which age does not take")
)

func parseSSHIdentity(path string, text []byte) (found identityFile, err error) {
	id, err := agessh.ParseIdentity(text)
	if missing, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		return parseLockedSSH(path, text, missing.PublicKey)
	}
	if err != nil {
		return found, errNoSSH
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return found, errNoSSH
	}
	if weakRSA(signer.PublicKey()) {
		return found, errWeakRSA
	}
	return identityFile{silent: []silent{{id, authorized(signer.PublicKey())}}}, nil
}

// weakRSA tells whether agessh has no recipient of a key for its size.
func weakRSA(k ssh.PublicKey) bool {
	c, ok := k.(ssh.CryptoPublicKey)
	if !ok {
		return false
	}
	key, ok := c.CryptoPublicKey().(*rsa.PublicKey)
	return ok && key.Size() < 2048/8
}

func authorized(k ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

// parseLockedSSH needs the public key, so that nobody is asked for a passphrase
// that does not help. Old forms of the file do not hold it.
func parseLockedSSH(path string, text []byte, public ssh.PublicKey) (found identityFile, err error) {
	beside := public == nil
	if beside {
		var err error
		if public, err = readBeside(path); err != nil {
			return found, errors.New("an SSH key of an old form under a passphrase, and its public key is not beside it in a file .pub")
		}
	}
	if t := public.Type(); t != ssh.KeyAlgoED25519 && t != ssh.KeyAlgoRSA {
		return found, errNoSSH
	}
	if weakRSA(public) {
		return found, errWeakRSA
	}
	return identityFile{locked: []*locked{{path: path, text: text, public: public, beside: beside}}}, nil
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
		hint := "ls -ld " + filepath.Dir(path)
		if errors.Is(err, fs.ErrExist) { // and nobody found an identity in it
			hint = "look into it; if it is empty: rm " + path + ", then this again"
		}
		return "", fault.Wrap(fault.Errno(err), "cannot make the identity file", path, hint)
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
	if err := files.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = cmp.Or(err, files.GiveSecret(f), f.Sync(), f.Close()); err != nil {
		os.Remove(path)
		return err
	}
	return files.Sync(dir)
}
