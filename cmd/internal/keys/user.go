package keys

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/vault"
)

// UserOptions say which recipients a user has.
type UserOptions struct {
	Dir     string // of the repository, which need not exist yet
	IDs     *vault.Identities
	Classic bool // a new vault is to be one that every age opens; otherwise it is post-quantum
	Report  ui.Reporter
}

// list is the repository's list of recipients.
func (o UserOptions) list() string { return filepath.Join(o.Dir, "vault", "recipients.txt") }

// recipients are those of the identities, as far as these reveal them. It warns of identity files
// that others can read, too.
func (o UserOptions) recipients() ([]string, error) {
	all, err := o.IDs.Recipients()
	for _, w := range o.IDs.Warnings() {
		o.Report.Warn(w)
	}
	if errors.Is(err, vault.ErrNoIdentity) {
		err = nil
	}
	return all, err
}

// ofKind are the recipients of the wanted kind.
func (o UserOptions) ofKind(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(r string) bool { return hasHybrid(r) == o.Classic })
}

// UserRecipients are those for which a new vault is: of the user's identity, which is made if there
// is none. If an identity does not reveal its recipient the user has to add that to the list
// himself: he would not expect an identity of another kind beside it. None are returned if he has.
func UserRecipients(o UserOptions) ([]string, error) {
	all, err := o.recipients()
	if err != nil {
		return nil, err
	}
	if len(all) == 0 && o.IDs.Found() {
		list := o.list()
		if _, err := os.Stat(list); err == nil {
			return nil, nil
		}
		return nil, fault.New("cannot tell the recipient of your identity", "",
			"it is a plugin's, or under a passphrase; nothing was made",
			"mkdir -p "+ui.Quoted(filepath.Dir(list))+", write its recipient (age1...) to "+ui.Quoted(list)+
				", then wgkeys init "+ui.Quoted(o.Dir))
	}
	if len(all) == 0 {
		defer sayKind(o)
		return newIdentity(o)
	}
	if o.IDs.Unnamed() {
		o.Report.Warn(fault.New("cannot tell the recipient of an identity of yours", "",
			"it is a plugin's, or under a passphrase; the vault is for the others",
			"write its recipient to "+o.list()+" before the first wgkeys gen"))
	}
	kind := o.ofKind(all)
	if len(kind) == 0 && !o.Classic {
		o.Report.Say("your identity is classic (X25519 or SSH), so the vault is: any age opens it, and whoever keeps a copy may open it with a quantum computer one day")
		return all, nil
	}
	if len(kind) == 0 {
		return nil, fault.New("no classic identity of yours", "", "the one found is post-quantum",
			"age-keygen -o classic.txt, then wgkeys init --classic -i classic.txt")
	}
	sayKind(o)
	return kind, nil
}

func newIdentity(o UserOptions) ([]string, error) {
	config, err := os.UserConfigDir()
	if err != nil {
		return nil, fault.Wrap(err, "cannot tell where your identity belongs", "",
			"age-keygen -o FILE, then wgkeys init -i FILE")
	}
	path := filepath.Join(config, "wgkeys", "identity.txt")
	recipient, err := vault.NewIdentity(path, !o.Classic, time.Now())
	if err != nil {
		return nil, err
	}
	o.Report.Say("made your identity %s; keep a copy in a safe place, since nothing opens the vault without it", path)
	return []string{recipient}, nil
}

func sayKind(o UserOptions) {
	if !o.Classic {
		o.Report.Say("the vault is post-quantum: wgkeys opens it, and age from version 1.3 on (--classic makes one that every age opens)")
		return
	}
	o.Report.Say("the vault is classic: every age opens it, but git keeps ciphertext for ever, and a quantum computer may open it one day")
}

// Unlisted returns the recipients that a user has to have added to the repository's list before he
// can decrypt; none, if one of his is in it. If he has no identity, one of the list's kind is made.
func Unlisted(o UserOptions) ([]string, error) {
	list, err := files.Read(o.Dir, o.list(), repo.MaxFile)
	if err != nil { // check reports it
		return nil, nil
	}
	mine, err := o.recipients()
	if err != nil {
		return nil, err
	}
	if len(mine) == 0 && o.IDs.Found() {
		return nil, nil // a plugin's, for instance, which may be in the list
	}
	o.Classic = !hasHybrid(string(list))
	listed := func(r string) bool { return strings.Contains(string(list), r) }
	switch kind := o.ofKind(mine); {
	case slices.ContainsFunc(mine, listed):
		return nil, nil
	case len(mine) == 0:
		return newIdentity(o)
	case len(kind) == 0:
		return nil, otherKind(o)
	default:
		return kind, nil
	}
}

// otherKind is the error of an identity of the wrong kind: age refuses a list with
// recipients of both, since the classic ones would defeat the purpose of the others.
func otherKind(o UserOptions) error {
	if !o.Classic {
		return fault.New("no post-quantum identity of yours", "", "the vault is post-quantum, and the one found is classic",
			"age-keygen -pq -o pq.txt (age 1.3 or later), then wgkeys init -i pq.txt "+ui.Quoted(o.Dir))
	}
	return fault.New("no classic identity of yours", "", "the vault is classic, and the one found is post-quantum",
		"age-keygen -o classic.txt, then wgkeys init -i classic.txt "+ui.Quoted(o.Dir))
}

func hasHybrid(recipients string) bool { return strings.Contains(recipients, "age1pq1") }
