//go:build unix

package push

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"wgkeys/deploy/revoked"
	"wgkeys/deploy/ssh"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// Receive is the host's end of the protocol, for the command that [Host] runs where wgkeys
// is installed. If only is not empty, no other paths are looked at or installed: for an
// administrator who grants access to these files only.
//
// The error is about the controller or the connection; an error about a file is sent to the
// controller.
func Receive(in io.Reader, out io.Writer, only []string) error {
	if _, err := fmt.Fprintf(out, "wgkeys %d receive\n", Protocol); err != nil {
		return err
	}
	r := bufio.NewReaderSize(in, maxLine)
	seen := looked{}
	for range 2 * maxFiles {
		line, err := ssh.ReadLine(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault.Wrap(err, "lost the controller", "", "")
		}
		req, err := parseRequest(line)
		clear(line)
		if err != nil {
			return fault.Wrap(err, "cannot understand the controller", "", "")
		}
		answer := req.answer(only, seen)
		clear(req.text)
		if _, err := fmt.Fprintln(out, answer); err != nil {
			return err
		}
	}
	return fault.New("stopped listening to the controller", "", "too many requests", "")
}

// A request is one line of the controller's.
type request struct {
	verb        string
	kind        kind
	path        string
	fingerprint string
	text        []byte // the content of the key file
}

// parseRequest copies what it keeps, so that the caller can wipe line.
func parseRequest(line []byte) (request, error) {
	head, rest := field(line)
	name, rest := field(rest)
	r := request{verb: string(head), kind: kind(name)}
	if r.kind != privateKey && r.kind != presharedKey {
		return request{}, errors.New("no kind of key file")
	}
	switch r.verb {
	case "look", "mode":
	case "put":
		var fingerprint, key []byte
		fingerprint, rest = field(rest)
		key, rest = field(rest)
		r.fingerprint, r.text = string(fingerprint), slices.Concat(key, []byte("\n"))
		if k, ok := kindOf(r.fingerprint); !ok || k != r.kind || !wellFormed(r.text) {
			clear(r.text)
			return request{}, errors.New("a key that is none")
		}
	default:
		return request{}, errors.New("no request of the protocol")
	}
	r.path = string(rest)
	if err := keyring.CheckFile(r.path); err != nil {
		return r, fmt.Errorf("the path %w", err)
	}
	return r, nil
}

func field(line []byte) (head, rest []byte) {
	for i, b := range line {
		if b == ' ' {
			return line[:i], line[i+1:]
		}
	}
	return line, nil
}

// looked is the last answer to the controller about each path. The controller decides by
// that, and another one may install a newer key before it continues.
type looked map[string]string

// refuse refuses to replace a file that has changed since the answer, unless it has the
// wanted key now.
func (l looked) refuse(path, found, want string) error {
	if was, ok := l[path]; ok && keyIn(was) != keyIn(found) && keyIn(found) != want {
		return errors.New(changed)
	}
	return nil
}

// keyIn is the fingerprint in an answer, or what is there instead.
func keyIn(found string) string { return found[strings.LastIndexByte(found, ' ')+1:] }

func (r request) answer(only []string, seen looked) string {
	listed := slices.Contains(only, r.path)
	if len(only) > 0 && !listed {
		if r.verb == "look" {
			return "deny is not among the files that may be pushed here"
		}
		return "fail is not among the files that may be pushed here"
	}
	path, err := real(r.path)
	if err != nil {
		return map[bool]string{true: "deny ", false: "fail "}[r.verb == "look"] + fault.Errno(err).Error()
	}
	asked := r.path
	r.path = path
	found := look(r.kind, r.path, listed)
	why, denied := strings.CutPrefix(found, "deny ")
	switch {
	case r.verb == "look":
		seen[asked] = found
		return found
	case denied: // whoever asks
		return "fail " + why
	case r.verb == "put":
		err = r.replace(seen.refuse(asked, found, r.fingerprint))
	case !strings.HasPrefix(found, "have "):
		err = errNoKey
	default:
		err = repair(r.path)
	}
	if err != nil {
		return "fail " + fault.Errno(err).Error()
	}
	fingerprint, err := readFingerprint(r.kind, r.path)
	if err != nil {
		return "fail " + fault.Errno(err).Error()
	}
	return "done " + fingerprint
}

// replace installs the key, unless it may not.
func (r request) replace(err error) error {
	if err == nil {
		err = refuseRevoked(r.fingerprint)
	}
	if err == nil {
		err = install(r)
	}
	return err
}

// refuseRevoked refuses a key that this host knows as stolen.
func refuseRevoked(fingerprint string) error {
	key, err := keyring.ParsePublicKey([]byte(fingerprint))
	if err != nil { // that of a preshared key
		return nil
	}
	list, err := revoked.Read()
	if err == nil && list.Stolen(key) {
		err = errors.New("wgkeys rotate --now had this key refused: the repository may be behind")
	}
	return err
}

// look returns the answer about a path. A path that an administrator lists may have any name.
func look(k kind, path string, listed bool) string {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named(path) && !listed:
		return "deny " + notNamed
	case errors.Is(err, fs.ErrNotExist):
		return "none"
	case err != nil:
		return "deny " + fault.Errno(err).Error()
	case fi.Mode()&fs.ModeSymlink != 0:
		return "deny is a symbolic link"
	case fi.IsDir():
		return "deny is a directory"
	case !fi.Mode().IsRegular():
		return "deny is no regular file"
	}
	fingerprint, err := readFingerprint(k, path)
	switch {
	case errors.Is(err, errPart) && (named(path) || listed):
		return "bad"
	case errors.Is(err, errNoKey):
		return "deny " + notKey
	case err != nil:
		return "deny " + fault.Errno(err).Error()
	}
	owner := fi.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("have -%s %d %d %s", modeString(fi.Mode()), owner.Uid, owner.Gid, fingerprint)
}

// modeString is the mode as ls -l shows it, without the type.
func modeString(m fs.FileMode) string {
	s := []byte(m.Perm().String()[1:])
	for i, special := range []fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky} {
		at := 3*i + 2
		switch {
		case m&special == 0:
		case s[at] == 'x':
			s[at] = "sst"[i]
		default:
			s[at] = "SST"[i]
		}
	}
	return string(s)
}

var (
	errNoKey = errors.New("no key is in place")
	errPart  = fmt.Errorf("%w, but nothing else either", errNoKey)
)

// readFingerprint derives the fingerprint of the key in a file: 45 bytes, after which only
// white space may follow.
func readFingerprint(k kind, path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text := make([]byte, 4<<10)
	defer clear(text)
	n, err := io.ReadFull(f, text)
	if err == nil {
		return "", errNoKey
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	fingerprint, ok := fingerprintOf(k, text[:n])
	switch {
	case ok:
		return fingerprint, nil
	case part(text[:n]):
		return "", errPart
	}
	return "", errNoKey
}
