package vault

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
	"wgkeys/vault/ageplugin"
)

// A Place is a path where an identity may be.
type Place struct {
	Path     string
	Why      string // why it is tried: "-i", "WGKEYS_IDENTITY"
	Explicit bool   // the user named it: it has to exist and to be valid
}

// Identities are the identities of a run. The files are read once, when the first vault
// file is opened, in the order given. Identities that ask nobody are tried first, then
// those with a passphrase, then those of age plugins. Several goroutines may share them.
type Identities struct {
	Asker Asker // for passphrases; nil: there is no user to ask

	places  []Place
	once    sync.Once
	results []string // of each place, what was found there
	loose   []*fault.Fault
	used    atomic.Bool
	err     error

	talk   sync.Mutex // held while the user or a plugin is asked
	mu     sync.RWMutex
	found  identityFile
	opened map[[sha256.Size]byte]opened // of plugins
}

// FindIdentities returns the identities in places. It does not read them yet.
func FindIdentities(places ...Place) *Identities {
	return &Identities{places: places, opened: map[[sha256.Size]byte]opened{}}
}

// Warnings returns a fault for each identity file that was used and that others can read,
// and for each that was named and cannot be used while others were. It reads no file, and
// is for the end of a run: no other goroutine may use i any more.
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

// Recipients returns the recipients of those identities that reveal them, as a recipients
// file spells them: of age's own without a passphrase, and of SSH keys.
func (i *Identities) Recipients() ([]string, error) {
	i.used.Store(true)
	i.load()
	i.mu.RLock()
	defer i.mu.RUnlock()
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

// Found reports whether there is an identity, of any kind, in one of the places.
func (i *Identities) Found() bool {
	i.load()
	i.mu.RLock()
	defer i.mu.RUnlock()
	return !i.found.empty()
}

// Unnamed reports whether there is an identity whose recipient [Identities.Recipients] does
// not know.
func (i *Identities) Unnamed() bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return len(i.found.plugins) > 0 || slices.ContainsFunc(i.found.locked, func(l *locked) bool {
		return l.public == nil || l.beside
	})
}

func (i *Identities) searched() []string {
	if len(i.results) == 0 {
		return []string{"nowhere: no identity file was named"}
	}
	return i.results
}

func (i *Identities) use() error {
	i.used.Store(true)
	if !i.Found() || errors.Is(i.err, ErrInterrupted) {
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

// loadPlace fails only for an explicit place; an error in any other is reported if no
// identity matches.
func (i *Identities) loadPlace(p Place) error {
	if HoldsSecret(p.Path) { // a common mistake in a variable; it must not be shown
		i.results = append(i.results, p.Why+": not the name of a file")
		return fault.New("an identity itself, and not the name of its file, is the value of", p.Why, "",
			"write it to a file of mode 0600 and name that")
	}
	found, loose, err := i.read(p.Path)
	what := fmt.Sprintf("%s (%s): ", p.Path, p.Why)
	if err != nil {
		i.results = append(i.results, what+err.Error())
		if p.Explicit {
			return fault.WrapFile(err, "cannot use the identity file", p.Path, identityHint(p.Path, err))
		}
		return nil
	}
	if loose != 0 {
		i.loose = append(i.loose, fault.NewFile("others can read the identity file", p.Path,
			fmt.Sprintf("its mode is %04o", loose), "chmod 600 "+words.ForShell(p.Path)))
	}
	i.results = append(i.results, what+found.String())
	i.found.add(found)
	return nil
}

// HoldsSecret reports whether a text contains an identity or a private key, which must not
// be shown.
func HoldsSecret(text string) bool {
	upper := strings.ToUpper(text)
	return strings.Contains(upper, "AGE-SECRET-KEY-") || strings.Contains(upper, "AGE-PLUGIN-") ||
		strings.Contains(upper, "PRIVATE KEY-----") || wireguardKey().MatchString(text)
}

var wireguardKey = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`[A-Za-z0-9+/]{43}=`)
})

func identityHint(path string, err error) string {
	switch {
	case errors.Is(err, ErrInterrupted):
		return ""
	case path == "-" && errors.Is(err, fs.ErrNotExist):
		return "-i /dev/stdin reads standard input"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, ageplugin.ErrSilent):
		return "ls -l " + words.ForShell(path)
	case errors.Is(err, errNoSSH), errors.Is(err, errWeakRSA):
		return "ssh-keygen -t ed25519 makes one"
	case errors.Is(err, errRecipient):
		return "name the file of the private key"
	case errors.Is(err, syscall.EISDIR):
		return "name a file of it: ls -l " + words.ForShell(path)
	case errors.Is(err, errSpaces), errors.Is(err, errSmall):
		return "mend that line of " + words.ForShell(path)
	case errors.Is(err, errSealed):
		return "-i <(age -d -i KEY " + words.ForShell(path) + "), with the file of the KEY that opens it"
	case errors.Is(err, errNone), errors.Is(err, errOther):
		return "-i FILE names another one; wgkeys help recovery, if it was lost"
	}
	return "age-keygen -y " + words.ForShell(path)
}
