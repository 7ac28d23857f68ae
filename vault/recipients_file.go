package vault

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/tag"
	"golang.org/x/crypto/ssh"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/lazyregexp"
	"wgkeys/keyring/words"
)

// read returns the recipients of one file.
func (l *Lists) read(path string) (Recipients, error) {
	text, err := l.vault.Snapshot.Read(l.vault.repository(), path, maxRecipients)
	if errors.Is(err, fs.ErrNotExist) && l.vault.Snapshot.Exists(path) {
		return nil, fault.NewFile("cannot read the recipients", path, "it is a link that leads nowhere",
			"ls -l "+words.ForShell(path))
	}
	if err != nil {
		return nil, fault.WrapFile(err, "cannot read the recipients", path, "git log -- "+words.ForShell(path)+
			"; without git: age-keygen -y IDENTITY > "+words.ForShell(path))
	}
	var rs Recipients
	lines := linesOf(files.Text(text))
	for r, line := range listed(path, lines) {
		r.asker = l.vault.Asker
		if err := r.parse(line); err != nil {
			err, hint := files.Better(text, err), validLine(line)
			if err == files.ErrConflict {
				hint = "keep the lines of both sides that shall stay, without <<<<<<<, ======= and >>>>>>>"
			}
			return nil, fault.WrapLine(err, "no valid recipient at", r.File, r.Line, files.Brings(err, hint))
		}
		rs = append(rs, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fault.WrapFile(err, "cannot read the recipients", path, "git log -p -- "+words.ForShell(path))
	}
	if why := files.Unreadable(text); rs == nil && why != nil {
		return nil, fault.WrapFile(why, "cannot read the recipients", path, "")
	}
	return rs, nil
}

// listed yields the lines of a recipients file that are recipients, each with its name in
// the comments.
//
// A comment names the one line below it. A line further down may belong to somebody else,
// who was appended to the list with >>: it has its own name or none, and only
// [Recipient.Above] gives the last comment above it, up to an empty line or the next comment.
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

// parse fills in r. It never quotes the line, nor age's error, which does: the line might
// be an identity in the wrong file.
func (r *Recipient) parse(line string) error {
	var err error
	switch {
	case isTwo(line):
		return errTwo
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
		return errors.New("this is an identity, a secret: it does not belong in the repository")
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

// parseTag parses the recipient of a hardware key to which age can encrypt without the
// plugin.
func (r *Recipient) parseTag(line string) error {
	t, err := tag.ParseRecipient(line)
	if err != nil {
		return err
	}
	r.age, r.Text, r.PostQuantum = t, t.String(), t.Hybrid()
	return nil
}

// parsePlugin does not start the plugin, which is not needed to read a list.
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

// aRecipient matches the beginning of one. A second one in a line was appended to a file whose
// last line had no end: where that is an SSH key, it would be taken for the key's comment.
var aRecipient = lazyregexp.New(`age1[0-9a-z]{50}|ssh-(ed25519|rsa) AAAA`)

// isTwo reports whether a line that begins with a recipient has another one.
func isTwo(line string) bool {
	return (strings.HasPrefix(line, "age1") || strings.HasPrefix(line, "ssh-")) && aRecipient().MatchString(line[1:])
}

var errTwo = errors.New("two recipients in one line: the second belongs in a line of its own")

// errOtherSSH is for the SSH keys that age -R skips with a warning: their owners could open
// nothing.
var errOtherSSH = errors.New("an SSH key of a type that age cannot encrypt to")

// otherSSH returns the type of an SSH key that does not begin with ssh-, "" for other
// lines.
func otherSSH(line string) string {
	if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil && !strings.HasPrefix(key.Type(), "ssh-") {
		return key.Type()
	}
	return ""
}

// nameIn returns the name in a comment. A secret that was commented out is not a name:
// names are shown, and get into commit messages.
func nameIn(comment string) string {
	if HoldsSecret(comment) {
		return ""
	}
	return strings.TrimSpace(comment)
}

// validLine is a hint with a command that prints a valid line of the intended kind.
func validLine(line string) string {
	if strings.HasPrefix(line, "ssh-") || otherSSH(line) != "" {
		return "ssh-keygen -y -f KEY prints a valid line; ssh-keygen -t ed25519 makes a key"
	}
	return "age-keygen -y IDENTITY prints a valid line"
}
