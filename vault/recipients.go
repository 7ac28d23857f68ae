package vault

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/tag"
	"golang.org/x/crypto/ssh"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/vault/ageplugin"
)

const (
	recipientsFile = "recipients.txt"
	onlyFile       = "recipients.only.txt"
	maxRecipients  = 1 << 20
)

// A Recipient is one line of a recipients file.
type Recipient struct {
	Name        string // its own comment, or the one just above it; "" if there is none
	Above       string // the comment above it, with other recipients in between or without
	File        string // where it stands
	Line        int
	Text        string // its one spelling, of which Fingerprint is made
	Fingerprint Fingerprint
	PostQuantum bool // of a plugin's recipient nobody knows before it is used

	age   age.Recipient
	asker Asker
}

// String names r for a person: `alice (vault/recipients.txt:3)`.
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

// Recipients are those of one host's secrets, each once.
type Recipients []Recipient

// Fingerprints returns the fingerprints of rs, in their order.
func (rs Recipients) Fingerprints() []Fingerprint {
	var all []Fingerprint
	for _, r := range rs {
		all = append(all, r.Fingerprint)
	}
	return all
}

// Compare tells how the recipients that a file is encrypted to differ from rs,
// in whatever order: those that cannot open it, and those that still can.
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

// name tells a person which recipient f is, as far as rs knows.
func (rs Recipients) name(f Fingerprint) string {
	for _, r := range rs {
		if r.Fingerprint == f {
			return r.String()
		}
	}
	return "a recipient that is no longer listed (" + f.String() + ")"
}

// Recipients returns whom host's secrets are to be encrypted to, see [Lists.Of].
func (v Vault) Recipients(host string) (Recipients, error) { return v.Lists().Of(host) }

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

// labels are those of all of rs: age encrypts only to recipients that have the
// same. It refuses what age would refuse too, but names the lines: a single
// classic recipient gives the secret to whoever keeps the file until there is a
// quantum computer, whatever the others are.
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

const postQuantum = "postquantum" // age's label, C2SP age.md

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
	slices.SortFunc(kinds, func(a, b string) int { return strings.Compare(b, a) }) // post-quantum first
	var why []string
	for _, kind := range kinds {
		why = append(why, kind+": "+strings.Join(at[kind], ", "))
	}
	return fault.New("cannot mix "+strings.Join(kinds, " and ")+" recipients", "", strings.Join(why, "; "),
		"age-keygen -pq -o IDENTITY")
}

// labels are those of r. Only a plugin itself knows those of its recipients.
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

func (v Vault) readRecipients(path string) (Recipients, error) {
	text, err := v.Seen.Read(v.repository(), path, maxRecipients)
	if errors.Is(err, fs.ErrNotExist) && v.Seen.Exists(path) {
		return nil, fault.NewFile("cannot read the recipients", path, "it is a link that leads nowhere", "ls -l "+path)
	}
	if err != nil {
		return nil, fault.WrapFile(err, "cannot read the recipients", path, "git log -- "+path+
			"; without git: age-keygen -y IDENTITY > "+path)
	}
	var rs Recipients
	lines := bufio.NewScanner(bytes.NewReader(files.Text(text)))
	for r, line := range listed(path, lines) {
		r.asker = v.Asker
		if err := r.parse(line); err != nil {
			err, hint := files.Better(text, err), validLine(line)
			if err == files.ErrConflict {
				hint = "keep the lines of both sides that shall stay, without <<<<<<<, ======= and >>>>>>>"
			}
			return nil, fault.WrapLine(err, "no valid recipient at", r.File, r.Line, hint)
		}
		rs = append(rs, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fault.WrapFile(err, "cannot read the recipients", path, "git log -p -- "+path)
	}
	if why := files.Unreadable(text); rs == nil && why != nil {
		return nil, fault.WrapFile(why, "cannot read the recipients", path, "")
	}
	return rs, nil
}

// listed yields the lines of a recipients file that are to be recipients, each with
// whom the comments name.
//
// A comment names the one line below it. What stands further down may be somebody
// else's, who was added to the end of the list, as >> does it: it has its own name or
// none, and only [Recipient.Above] tells in whose company it stands, up to an empty
// line or the next comment.
func listed(path string, lines *bufio.Scanner) iter.Seq2[Recipient, string] {
	return func(yield func(Recipient, string) bool) {
		var name, above string
		for n := 1; lines.Scan(); n++ {
			line := lines.Text()
			comment, isComment := strings.CutPrefix(line, "#")
			switch {
			case line == "":
				name, above = "", ""
			case isComment:
				name = nameIn(comment)
				above = name
			default:
				if !yield(Recipient{Name: name, Above: above, File: path, Line: n}, line) {
					return
				}
				name = ""
			}
		}
	}
}

// parse fills in r. It never quotes the line, nor age's error that does: it
// might be an identity in the wrong file.
func (r *Recipient) parse(line string) error {
	var err error
	switch {
	case strings.HasPrefix(line, "age1pq1"):
		err = r.parseHybrid(line)
	case strings.HasPrefix(line, "age1tag1"), strings.HasPrefix(line, "age1tagpq1"):
		err = r.parseTag(line)
	case strings.HasPrefix(line, "age1") && strings.Count(line, "1") > 1:
		err = r.parsePlugin(line)
	case strings.HasPrefix(line, "age1"):
		err = r.parseX25519(line)
	case strings.HasPrefix(line, "ssh-"):
		err = r.parseSSH(line)
	case strings.HasPrefix(line, "AGE-"):
		return errors.New("this is an identity, a secret: it does not belong into the repository")
	case otherSSH(line) != "":
		err = fmt.Errorf("%w: %s", errOtherSSH, otherSSH(line))
	default:
		return errors.New("a line begins with age1, ssh-ed25519, ssh-rsa or #")
	}
	if errors.Is(err, errWeakRSA) || errors.Is(err, errOtherSSH) {
		return err
	}
	if err != nil {
		return errCharacter
	}
	r.Fingerprint = fingerprint(r.Text)
	return nil
}

func (r *Recipient) parseHybrid(line string) error {
	h, err := age.ParseHybridRecipient(line)
	if err != nil {
		return err
	}
	r.age, r.Text, r.PostQuantum = h, h.String(), true
	return nil
}

func (r *Recipient) parseX25519(line string) error {
	x, err := age.ParseX25519Recipient(line)
	if err != nil {
		return err
	}
	r.age, r.Text = x, x.String()
	return nil
}

// parseTag reads the recipient of a hardware key that age itself encrypts to.
func (r *Recipient) parseTag(line string) error {
	t, err := tag.ParseRecipient(line)
	if err != nil {
		return err
	}
	r.age, r.Text, r.PostQuantum = t, t.String(), t.Hybrid()
	return nil
}

// parsePlugin does not start the plugin: to read a list takes none.
func (r *Recipient) parsePlugin(line string) error {
	p, err := client(r.asker).Recipient(line)
	if err != nil {
		return err
	}
	r.age, r.Text = p, line
	return nil
}

func (r *Recipient) parseSSH(line string) (err error) {
	key, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return err
	}
	r.Name = cmp.Or(nameIn(comment), r.Name)
	if t := key.Type(); t != ssh.KeyAlgoED25519 && t != ssh.KeyAlgoRSA {
		return fmt.Errorf("%w: %s", errOtherSSH, t)
	}
	r.Text = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	if weakRSA(key) {
		return errWeakRSA
	}
	r.age, err = agessh.ParseRecipient(r.Text)
	return err
}

// errOtherSSH is for the SSH keys that age -R passes over with a warning: whoever is
// listed with one could open nothing.
var errOtherSSH = errors.New("an SSH key of a type that age cannot encrypt to")

// otherSSH is the type of an SSH key that does not begin with ssh-, "" for other lines.
func otherSSH(line string) string {
	if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil && !strings.HasPrefix(key.Type(), "ssh-") {
		return key.Type()
	}
	return ""
}

// nameIn is whom a comment names. A secret that was commented out is no name: names
// are shown, and get into messages of commits.
func nameIn(comment string) string {
	if HoldsSecret(comment) {
		return ""
	}
	return strings.TrimSpace(comment)
}

// validLine is what prints a line like the one that was meant.
func validLine(line string) string {
	if strings.HasPrefix(line, "ssh-") || otherSSH(line) != "" {
		return "ssh-keygen -y -f KEY prints a valid line; ssh-keygen -t ed25519 makes a key"
	}
	return "age-keygen -y IDENTITY prints a valid line"
}
