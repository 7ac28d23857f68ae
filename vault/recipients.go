package vault

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

const (
	recipientsFile = "recipients.txt"
	maxRecipients  = 1 << 20
)

// A Recipient is one line of a recipients file.
type Recipient struct {
	Name        string // from the comment above it; "" if there is none
	File        string // where it stands
	Line        int
	Text        string // its one spelling, of which Fingerprint is made
	Fingerprint Fingerprint
	PostQuantum bool

	age age.Recipient
}

// String names r for a person: `alice (vault/recipients.txt:3)`.
func (r Recipient) String() string {
	if r.Name == "" {
		return r.at()
	}
	return fmt.Sprintf("%s (%s)", r.Name, r.at())
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

// Recipients returns whom host's secrets are to be encrypted to: the lines of
// vault/recipients.txt, then those of vault/HOST/recipients.txt if there is
// one. The files are those that age -R reads. A comment names the lines below
// it, up to an empty line or the next comment.
func (v Vault) Recipients(host string) (Recipients, error) {
	if err := checkHost(host); err != nil {
		return nil, err
	}
	all := filepath.Join(v.Dir, recipientsFile)
	rs, err := v.readRecipients(all)
	if err != nil {
		return nil, err
	}
	more, err := v.readRecipients(filepath.Join(v.Dir, host, recipientsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	rs = unique(append(rs, more...))
	if len(rs) == 0 {
		return nil, fault.New("no recipients in", all,
			"nobody could open the secrets of "+host, "age-keygen -y IDENTITY >> "+all)
	}
	return rs, rs.checkMix()
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

// checkMix refuses what age would refuse too, but names the lines: a single
// classic recipient gives the secret to whoever keeps the file until there is a
// quantum computer, whatever the others are.
func (rs Recipients) checkMix() error {
	var strong, classic []string
	for _, r := range rs {
		if r.PostQuantum {
			strong = append(strong, r.at())
		} else {
			classic = append(classic, r.at())
		}
	}
	if len(strong) == 0 || len(classic) == 0 {
		return nil
	}
	return fault.New("cannot mix post-quantum and classic recipients", "",
		fmt.Sprintf("post-quantum: %s; classic: %s", strings.Join(strong, ", "), strings.Join(classic, ", ")),
		"age-keygen -pq -o IDENTITY")
}

func (v Vault) readRecipients(path string) (Recipients, error) {
	text, err := files.Read(v.repository(), path, maxRecipients)
	if err != nil {
		return nil, fault.Wrap(err, "cannot read the recipients", path, "wgkeys init")
	}
	var rs Recipients
	var name string
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		comment, isComment := strings.CutPrefix(line, "#")
		switch {
		case line == "":
			name = ""
		case isComment:
			name = strings.TrimSpace(comment)
		default:
			r := Recipient{Name: name, File: path, Line: n}
			if err := r.parse(line); err != nil {
				return nil, fault.Wrap(err, "no valid recipient at", r.at(), "")
			}
			rs = append(rs, r)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fault.Wrap(err, "cannot read the recipients", path, "")
	}
	return rs, nil
}

// parse fills in r. It never quotes the line, nor age's error that does: it
// might be an identity in the wrong file.
func (r *Recipient) parse(line string) error {
	var err error
	switch {
	case strings.HasPrefix(line, "age1pq1"):
		err = r.parseHybrid(line)
	case strings.HasPrefix(line, "age1") && strings.Count(line, "1") > 1:
		return errors.New("recipients of age plugins are not supported")
	case strings.HasPrefix(line, "age1"):
		err = r.parseX25519(line)
	case strings.HasPrefix(line, "ssh-"):
		err = r.parseSSH(line)
	case strings.HasPrefix(line, "AGE-"):
		return errors.New("this is an identity, a secret: it does not belong into the repository")
	default:
		return errors.New("a line begins with age1, age1pq1, ssh-ed25519, ssh-rsa or #")
	}
	if err != nil {
		return errors.New("a character is wrong, missing or too many")
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

func (r *Recipient) parseSSH(line string) (err error) {
	key, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return err
	}
	if r.Name == "" {
		r.Name = comment
	}
	r.Text = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	r.age, err = agessh.ParseRecipient(r.Text)
	return err
}
