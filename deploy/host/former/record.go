package former

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/host/kept"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// A Record says what was taken over: the file /etc/wgkeys/taken/TUNNEL/record, JSON, for
// root alone.
type Record struct {
	Manager string         `json:"manager"` // "": no program was found
	Link    string         `json:"link"`
	Was     *apply.Adopted `json:"was"`     // what the tunnel had
	Done    bool           `json:"done"`    // it was completed
	Held    bool           `json:"held"`    // stand-ins may exist, see linux.Kernel.StandIn
	Moved   []Moved        `json:"moved"`   // files that were moved away
	Edited  []Edited       `json:"edited"`  // files of which a part was commented out
	Enabled []string       `json:"enabled"` // units of systemd that were enabled
	Active  []string       `json:"active"`  // units that were active
	Tables  []string       `json:"tables"`  // of nftables, as nft(8) lists them
	Rules   []Rules        `json:"rules"`   // of iptables
	// the resolvers that it gave resolvconf(8), by the name of the record, as resolv.conf(5)
	Names map[string]string `json:"names"`
}

// A Moved is a file that was moved away.
type Moved struct{ From, To string }

// An Edited is a file that was changed. Copy is the original.
type Edited struct {
	File, Copy string
	Sum        string // SHA-256 of what was written
}

// Rules are those that wg-quick(8) made with iptables(8), because it found no nft.
type Rules struct {
	Program string // iptables or ip6tables
	Text    string // as iptables-save(8) lists them
}

// Dir is the folder for what was taken over of a tunnel.
func Dir(link string) string { return filepath.Join(kept.Dir, "taken", link) }

func recordPath(link string) string { return filepath.Join(Dir(link), "record") }

// Open returns the record of a tunnel, or nil if it was not taken over.
func Open(link string) (*Record, error) {
	path := recordPath(link)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	r := &Record{}
	if err == nil {
		err = json.Unmarshal(text, r)
	}
	if err == nil && (r.Link != link || r.Was == nil) {
		err = errors.New("it is no record of this tunnel")
	}
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read what was taken over", path, fault.AsRoot)
	}
	return r, nil
}

// Taken are the tunnels that were taken over, or are being taken over.
func Taken() (links []string) {
	paths, _ := filepath.Glob(recordPath("*")) // the pattern is a good one
	for _, p := range paths {
		links = append(links, filepath.Base(filepath.Dir(p)))
	}
	return links
}

// Save writes the record, for good.
func (r *Record) Save() error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	path := recordPath(r.Link)
	dir := filepath.Dir(path)
	err = os.MkdirAll(filepath.Dir(dir), 0o755)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot make the folder", dir, fault.AsRoot)
	}
	if err := journal.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write", path, fault.AsRoot)
	}
	return nil
}

// Forget removes the record, when all was given back. The copy of a file that somebody has
// changed since stays.
func (r *Record) Forget() error {
	err := os.Remove(recordPath(r.Link))
	os.Remove(Dir(r.Link)) // not if something is in it
	return err
}

// moveAside moves files away.
func (r *Record) moveAside(paths ...string) error {
	for _, from := range paths {
		m := Moved{from, filepath.Join(Dir(r.Link), base(from))}
		r.Moved = append(r.Moved, m)
		err := r.Save()
		if err == nil {
			err = files.Move(m.From, m.To)
		}
		if err != nil {
			return fault.WrapFile(fault.Errno(err), "cannot put aside", from, "ls -ld "+from+" "+Dir(r.Link))
		}
	}
	return nil
}

// moveBack moves them back. If a path exists again, its file belongs to somebody else.
func (r *Record) moveBack() error {
	var errs []error
	for _, m := range slices.Backward(r.Moved) {
		switch err := m.taken(); {
		case err != nil:
			errs = append(errs, err)
		case isThere(m.To):
			if err := files.Move(m.To, m.From); err != nil {
				errs = append(errs, fault.WrapFile(fault.Errno(err), "cannot put back", m.From, "ls -ld "+filepath.Dir(m.From)))
			}
		}
	}
	return errors.Join(errs...)
}

// taken refuses to put a file back if another one has its name by now.
func (m Moved) taken() error {
	if !isThere(m.To) || !isThere(m.From) {
		return nil
	}
	return fault.NewFile("will not put back", m.From, "there is another file of that name", "rm "+m.From+", or rm "+m.To)
}

// InTheWay refuses what [Record.Return] would refuse, before anything is done.
func (r *Record) InTheWay() error {
	var errs []error
	for _, e := range r.Edited {
		was, err := os.ReadFile(e.Copy)
		now, failed := os.ReadFile(e.File)
		if err == nil && failed == nil {
			errs = append(errs, e.changed(string(was), string(now)))
		}
	}
	for _, m := range slices.Backward(r.Moved) {
		errs = append(errs, m.taken())
	}
	return errors.Join(errs...)
}

// changed refuses to put back a file that somebody has changed since.
func (e Edited) changed(was, now string) error {
	if sum(now) == e.Sum || now == was {
		return nil
	}
	return fault.NewFile("will not put back", e.File, "somebody has changed it since",
		"diff "+e.Copy+" "+e.File+"; then mv "+e.Copy+" "+e.Copy+".old, and wgkeys import --undo again")
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// edit changes the text of a file, and keeps a copy. Its mode stays.
func (r *Record) edit(file, was, text string) error {
	info, err := os.Stat(file)
	if err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot read", file, "")
	}
	copied := filepath.Join(Dir(r.Link), base(file))
	if err := journal.WriteFile(copied, []byte(was), 0o600); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write", copied, fault.AsRoot)
	}
	r.Edited = append(r.Edited, Edited{file, copied, sum(text)})
	if err := r.Save(); err != nil {
		return err
	}
	return writeAs(file, text, info)
}

// writeAs replaces a file, and keeps its mode and owner.
func writeAs(file, text string, info fs.FileInfo) error {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	if err := journal.WriteFile(file, []byte(text), info.Mode().Perm()); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write", file, fault.AsRoot)
	}
	return nil
}

// putBackEdits restores the texts of the files. One that somebody has changed since is left
// as it is.
func (r *Record) putBackEdits() error {
	var errs []error
	for _, e := range r.Edited {
		was, err := os.ReadFile(e.Copy)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is restored already
		}
		now, failed := os.ReadFile(e.File)
		info, unknown := os.Stat(e.File)
		if err := errors.Join(err, failed, unknown); err != nil {
			errs = append(errs, fault.WrapFile(fault.Errno(err), "cannot put back", e.File, "cp -p "+e.Copy+" "+e.File))
			continue
		}
		if err := e.changed(string(was), string(now)); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := writeAs(e.File, string(was), info); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, os.Remove(e.Copy))
	}
	return errors.Join(errs...)
}
