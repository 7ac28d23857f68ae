package vault

import (
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"

	"wgkeys/keyring/fault"
	"wgkeys/vault/ageplugin"
)

const (
	recipientsFile = "recipients.txt"
	onlyFile       = "recipients.only.txt"
	maxRecipients  = 1 << 20
)

// A Recipient is one line of a recipients file.
type Recipient struct {
	Name        string // its own comment, or the one on the line above; "" if there is none
	Above       string // the comment above it, possibly with other recipients in between
	File        string // the recipients file, as errors name it
	Line        int
	Text        string // its canonical spelling, from which Fingerprint is made
	Fingerprint Fingerprint
	PostQuantum bool // false for a plugin's recipient: only the plugin knows its labels

	age   age.Recipient
	asker Asker
}

// String describes r for a user: `alice (vault/recipients.txt:3)`.
func (r Recipient) String() string {
	if r.Name == "" {
		return r.at()
	}
	return fmt.Sprintf("%s (%s)", r.Name, r.at())
}

func (r Recipient) isPlugin() bool {
	_, ok := r.age.(*ageplugin.Recipient)
	return ok
}

func (r Recipient) at() string { return fmt.Sprintf("%s:%d", r.File, r.Line) }

// Recipients are lines of recipients files, in their order.
type Recipients []Recipient

// Fingerprints returns the fingerprints of rs, in their order.
func (rs Recipients) Fingerprints() []Fingerprint {
	var all []Fingerprint
	for _, r := range rs {
		all = append(all, r.Fingerprint)
	}
	return all
}

// Compare returns how the recipients of a file differ from rs, in any order: those that
// cannot open it yet, and those that still can.
func (rs Recipients) Compare(file []Fingerprint) (missing Recipients, stale []Fingerprint) {
	has := make(map[Fingerprint]bool)
	for _, f := range file {
		has[f] = true
	}
	for _, r := range rs {
		if !has[r.Fingerprint] {
			missing = append(missing, r)
		}
		delete(has, r.Fingerprint)
	}
	for _, f := range file {
		if has[f] {
			stale = append(stale, f)
		}
	}
	return missing, stale
}

// name describes the recipient of fingerprint f for a user, if rs has it.
func (rs Recipients) name(f Fingerprint) string {
	for _, r := range rs {
		if r.Fingerprint == f {
			return r.String()
		}
	}
	return "a recipient that is no longer listed (" + f.String() + ")"
}

func unique(rs Recipients) Recipients {
	seen := make(map[Fingerprint]bool)
	var out Recipients
	for _, r := range rs {
		if !seen[r.Fingerprint] {
			seen[r.Fingerprint] = true
			out = append(out, r)
		}
	}
	return out
}

// labels returns the labels of rs, which must be the same for all: age refuses to mix them,
// because a single classic recipient would give the secret to whoever keeps the file until
// there is a quantum computer. Unlike age's own error, this one names the lines.
func (rs Recipients) labels(of func(Recipient) ([]string, error)) ([]string, error) {
	var kinds []string
	at := map[string][]string{}
	for _, r := range rs {
		labels, err := of(r)
		if err != nil {
			return nil, err
		}
		kind := kindOf(labels)
		if at[kind] == nil {
			kinds = append(kinds, kind)
		}
		at[kind] = append(at[kind], r.at())
	}
	if len(kinds) > 1 {
		return nil, clash(kinds, at)
	}
	if len(rs) == 0 {
		return nil, nil
	}
	return of(rs[0])
}

const postQuantum = "postquantum" // age's label, from C2SP age.md

func kindOf(labels []string) string {
	switch {
	case len(labels) == 0:
		return "classic"
	case slices.Equal(labels, []string{postQuantum}):
		return "post-quantum"
	}
	return strings.Join(labels, "+")
}

func clash(kinds []string, at map[string][]string) error {
	slices.SortFunc(kinds, func(a, b string) int { return strings.Compare(b, a) }) // the post-quantum one first
	var why []string
	for _, kind := range kinds {
		why = append(why, kind+": "+strings.Join(at[kind], ", "))
	}
	return fault.New("cannot mix "+strings.Join(kinds, " and ")+" recipients", "", strings.Join(why, "; "),
		"age-keygen -pq -o IDENTITY")
}

// labels returns the labels of r. For a plugin's recipient it asks the plugin.
func (r Recipient) labels() ([]string, error) {
	p, ok := r.age.(*ageplugin.Recipient)
	if !ok && r.PostQuantum {
		return []string{postQuantum}, nil
	}
	if !ok {
		return nil, nil
	}
	labels, err := p.Labels()
	if err != nil {
		return nil, fault.WrapLine(err, "cannot encrypt to the recipient at", r.File, r.Line, "")
	}
	return slices.Sorted(slices.Values(labels)), nil
}
