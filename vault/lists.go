package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/words"
)

// Lists are the recipients files of a vault as they are now; the one for all hosts is read
// once. Several goroutines may share them.
type Lists struct {
	vault  Vault
	common func() (Recipients, error) // from vault/recipients.txt
	shared func() (Recipients, error) // of every host without a file of its own

	mu     sync.Mutex
	labels map[string]labelled // by a recipient's text, for plugins that were asked
}

type labelled struct {
	labels []string
	err    error
}

// Lists returns the recipients files of v.
func (v Vault) Lists() *Lists {
	l := &Lists{vault: v, labels: map[string]labelled{}}
	l.common = sync.OnceValues(func() (Recipients, error) {
		return l.read(filepath.Join(v.Dir, recipientsFile))
	})
	l.shared = sync.OnceValues(func() (Recipients, error) {
		rs, err := l.common()
		if err != nil {
			return nil, err
		}
		return usable(rs)
	})
	return l
}

// Recipients returns to whom host's secrets have to be encrypted, see [Lists.Of].
func (v Vault) Recipients(host string) (Recipients, error) { return v.Lists().Of(host) }

// Of returns to whom host's secrets have to be encrypted: the lines of
// vault/recipients.txt, then those of vault/HOST/recipients.txt if that exists. If there is
// a vault/HOST/recipients.only.txt it is the lines of that file and no others. The format
// is that of age -R. A comment names the line below it.
//
// Whether all of them can be used together is certain only when a file is sealed: only the
// plugin knows the labels of a plugin's recipient, and Of starts none.
func (l *Lists) Of(host string) (Recipients, error) {
	rs, err := l.of(host)
	if err == nil && len(rs) == 0 {
		file, hint := filepath.Join(l.vault.Dir, recipientsFile), "age-keygen -y IDENTITY >> "
		if l.vault.Sealed(host) {
			file, hint = onlyPath(l.vault, host), "ssh root@"+host+" cat /etc/ssh/ssh_host_ed25519_key.pub >> "
		}
		err = fault.NewFile("no recipients in", file, "nobody could open the secrets of "+host, hint+words.ForShell(file))
	}
	return rs, err
}

func (l *Lists) of(host string) (Recipients, error) {
	if err := checkHost(host); err != nil {
		return nil, err
	}
	v := l.vault
	only, errOnly := l.read(onlyPath(v, host))
	more, errMore := l.read(filepath.Join(v.Dir, host, recipientsFile))
	switch noOnly, noMore := errors.Is(errOnly, fs.ErrNotExist), errors.Is(errMore, fs.ErrNotExist); {
	case !noMore && errMore != nil:
		return nil, errMore
	case !noOnly && errOnly != nil:
		return nil, errOnly
	case !noOnly && !noMore:
		return nil, fault.NewHost("two lists of recipients for host", host, fmt.Sprintf("in %s/%s are both %s and %s", v.Dir,
			host, recipientsFile, onlyFile),
			"keep "+onlyFile+" if "+host+" alone may open its keys, else "+recipientsFile)
	case !noOnly:
		return usable(only)
	case noMore:
		return l.shared()
	}
	common, err := l.common()
	if err != nil {
		return nil, err
	}
	return usable(append(common[:len(common):len(common)], more...))
}

// usable returns rs without duplicates, or an error if they cannot be used together.
func usable(rs Recipients) (Recipients, error) {
	rs = unique(rs)
	_, err := rs.native().labels(Recipient.labels)
	return rs, err
}

// native returns those of rs that need no plugin.
func (rs Recipients) native() Recipients {
	var own Recipients
	for _, r := range rs {
		if !r.isPlugin() {
			own = append(own, r)
		}
	}
	return own
}

// labelled returns the recipients of host and the labels that age needs.
func (l *Lists) labelled(host string) (Recipients, []string, error) {
	rs, err := l.Of(host)
	if err != nil {
		return nil, nil, err
	}
	labels, err := rs.labels(l.labelsOf)
	return rs, labels, err
}

// labelsOf asks each plugin once.
func (l *Lists) labelsOf(r Recipient) ([]string, error) {
	if !r.isPlugin() {
		return r.labels()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.labels[r.Text]
	if !ok {
		known.labels, known.err = r.labels()
		l.labels[r.Text] = known
	}
	return known.labels, known.err
}

// Agree makes sure that the recipients of each of the hosts can be used together, before
// anything is written. It starts the plugins of those that need one.
func (l *Lists) Agree(hosts []string) error {
	for _, host := range hosts {
		if _, _, err := l.labelled(host); err != nil {
			return err
		}
	}
	return nil
}

// Sealed reports whether host alone can open its secrets: whether it has a
// recipients.only.txt.
func (v Vault) Sealed(host string) bool {
	path := onlyPath(v, host)
	_, err := v.Snapshot.Read(v.repository(), path, maxRecipients)
	return !errors.Is(err, fs.ErrNotExist) || v.Snapshot.Exists(path) // a dangling link
}

// onHost is the command to run on a host whose keys nobody else can open.
func onHost(host, verb string) string {
	return "only " + host + " can open it: on " + host + ", in a clone of the repository: wgkeys " + verb +
		" -i /etc/ssh/ssh_host_ed25519_key"
}

// reinstalled is the hint for the keys of a host that no longer has the ssh host key to
// which they are encrypted.
func reinstalled(host string) string {
	return "it is encrypted to a former key of " + host + ": wgkeys rekey " + host +
		" -i OLD_HOST_KEY, from a backup of " + host +
		"; where there is none, for it was installed again, another key is made: wgkeys rotate --now " + host
}

func onlyPath(v Vault, host string) string { return filepath.Join(v.Dir, host, onlyFile) }

// KeepToHost makes host's own list of recipients the only one for its secrets. There must
// not be any yet that others can open.
func (v Vault) KeepToHost(host string) error {
	if err := checkHost(host); err != nil || v.Sealed(host) {
		return err
	}
	own := filepath.Join(v.Dir, host, recipientsFile)
	rs, err := v.Lists().read(own)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("there is no such file")
	} else if err == nil && len(rs) == 0 {
		err = errors.New("it names nobody")
	}
	if err != nil {
		return fault.WrapFile(err, "no recipient of its own for host "+host+":", own,
			fmt.Sprintf("mkdir -p vault/%[1]s && ssh root@%[1]s cat /etc/ssh/ssh_host_ed25519_key.pub "+
				">vault/%[1]s/recipients.txt", host))
	}
	if _, err := unique(rs).labels(Recipient.labels); err != nil {
		return err
	}
	made, err := v.List(host)
	if err != nil {
		return err
	}
	if len(made) > 0 {
		return fault.NewHost("others can open keys of host", host,
			fmt.Sprintf("vault/%s has files that are encrypted to all recipients: %s", host, words.AndMore(made[0], len(made))),
			fmt.Sprintf("mv vault/%[1]s/%[2]s vault/%[1]s/%[3]s, wgkeys rekey %[1]s, and new keys: "+
				"wgkeys rotate --on-host %[1]s", host, recipientsFile, onlyFile))
	}
	if err := files.Rename(v.repository(), own, onlyPath(v, host)); err != nil {
		return fault.WrapFile(err, "cannot rename", own, "")
	}
	return nil
}
