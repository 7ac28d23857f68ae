package vault

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"filippo.io/age"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/words"
)

// Meta returns the metadata of a vault file. It needs no identity.
func (v Vault) Meta(host, file string) (Meta, error) {
	if m, ok := v.seenMeta(host, file); ok {
		return m, nil
	}
	s, err := v.read(host, file)
	if err != nil {
		return Meta{}, err
	}
	if s.meta.Version == 0 {
		return Meta{}, s.byHand(host)
	}
	return s.meta, nil
}

// seenMeta is [Vault.Meta] of a file whose text is in the snapshot, if there is no error.
func (v Vault) seenMeta(host, file string) (Meta, bool) {
	made, ok := v.Snapshot.Once(v.Dir, host, file+suffix, func(text []byte) (any, bool) {
		m, ok := scanMeta(text)
		m.Recipients = slices.Clip(m.Recipients)
		return &m, ok
	})
	if !ok || !validFile(file) {
		return Meta{}, false
	}
	m := made.(*Meta)
	return *m, m.Host == host && m.File == installed(file)
}

// OpenKey decrypts a private key and returns it if its public key is want, the
// keyring's.
func (v Vault) OpenKey(host, file string, want keyring.PublicKey, ids *Identities) (keyring.PrivateKey, error) {
	s, err := v.read(host, file)
	if err != nil {
		return keyring.PrivateKey{}, err
	}
	return s.openKey(v, host, want, ids)
}

func (s *sealed) openKey(v Vault, host string, want keyring.PublicKey, ids *Identities) (keyring.PrivateKey, error) {
	if s.meta.Version != 0 && s.meta.PublicKey != want {
		return keyring.PrivateKey{}, s.mismatch("it is for the public key %s, the keyring has %s", s.meta.PublicKey,
			want.Spelled(s.meta.PublicKey))
	}
	var text [maxText]byte
	defer clear(text[:])
	n, err := s.decrypt(v, host, ids, &text)
	if err != nil {
		return keyring.PrivateKey{}, err
	}
	k, err := keyring.ParsePrivateKey(text[:n])
	if err != nil {
		return keyring.PrivateKey{}, s.fault(fmt.Errorf("%w: it does not hold a private key: %w", errMismatch, err), "")
	}
	if got := k.PublicKey(); got != want {
		return keyring.PrivateKey{}, s.mismatch("it holds the private key of %s, the keyring has %s", got, want.Spelled(got))
	}
	return k, nil
}

// OpenPSK decrypts a preshared key and returns it if its fingerprint is want,
// which is that in the metadata of the other host's file.
func (v Vault) OpenPSK(host, file string, want string, ids *Identities) (keyring.PresharedKey, error) {
	s, err := v.read(host, file)
	if err != nil {
		return keyring.PresharedKey{}, err
	}
	return s.openPSK(v, host, want, ids)
}

func (s *sealed) openPSK(v Vault, host string, want string, ids *Identities) (keyring.PresharedKey, error) {
	if s.meta.Version != 0 && s.meta.PSK != want {
		return keyring.PresharedKey{}, s.mismatch("it is for the preshared key %s, the other host has %s", s.meta.PSK, want)
	}
	k, err := s.decryptPSK(v, host, ids)
	if err != nil {
		return keyring.PresharedKey{}, err
	}
	if got := k.Fingerprint(); got != want {
		return keyring.PresharedKey{}, s.mismatch("it holds the preshared key %s, the other host has %s", got, want)
	}
	return k, nil
}

// decryptPSK opens a preshared key. The caller has to compare it.
func (s *sealed) decryptPSK(v Vault, host string, ids *Identities) (keyring.PresharedKey, error) {
	var text [maxText]byte
	defer clear(text[:])
	n, err := s.decrypt(v, host, ids, &text)
	if err != nil {
		return keyring.PresharedKey{}, err
	}
	k, err := keyring.ParsePresharedKey(text[:n])
	if err != nil {
		return k, s.fault(fmt.Errorf("%w: it does not hold a preshared key: %w", errMismatch, err), "")
	}
	return k, nil
}

// maxText is a bound for the size of a key file, in bytes.
const maxText = 64

// sealed is a vault file before it is decrypted.
type sealed struct {
	path string
	age  []byte            // the binary age file
	sum  [sha256.Size]byte // SHA-256 of the file as it is
	meta Meta              // version 0 if there is none
}

// read reads host's file and compares its metadata with its path.
func (v Vault) read(host, file string) (*sealed, error) {
	n := Name{host, file}
	return v.readAs(n, n)
}

// readAs reads the file at the name at, whose metadata should say that it was made as made.
func (v Vault) readAs(at, made Name) (*sealed, error) {
	host, file := at.Host, at.File
	if err := checkNames(host, file); err != nil {
		return nil, err
	}
	s := &sealed{path: v.Path(host, file)}
	text, err := v.Snapshot.Read(v.repository(), s.path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, s.lacking(v, host, file, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, s.fault(err, "ls -l "+words.ForShell(s.path))
	case err != nil:
		return nil, s.damaged(err)
	case len(text) == 0:
		return nil, s.damaged(errors.New("it is empty"))
	}
	if isSecret(text) {
		clear(text)
		return nil, s.fault(fmt.Errorf("%w: it holds a secret key in the clear, which must no longer be used", errDamaged),
			"rm "+s.path+" and its public key in keyring/"+host+"/, then "+toRun(v, "gen", host, file))
	}
	s.sum = sha256.Sum256(text)
	if s.age, err = dearmor(text); err != nil {
		return nil, s.damaged(files.Better(text, err))
	}
	if err := s.readMeta(); err != nil {
		return nil, s.damaged(err)
	}
	if s.meta.Version != 0 && (s.meta.Host != made.Host || s.meta.File != installed(made.File)) {
		moved := &MovedError{Made: Name{s.meta.Host, s.meta.File}, Now: Name{at.Host, installed(at.File)}}
		return nil, s.fault(moved, moved.hint(s.path))
	}
	return s, nil
}

// lacking is the error of a file that does not exist, which is err.
func (s *sealed) lacking(v Vault, host, file string, err error) error {
	if away := files.Away(s.path); away != nil {
		return s.damaged(away)
	}
	if isNext(file) {
		return s.fault(err, toRun(v, "rotate", host, file))
	}
	return s.fault(err, toGen(v, host, file))
}

// A MovedError is the error that a file was made for another host or name than those of its
// path. It is an [errMismatch].
type MovedError struct{ Made, Now Name }

func (e *MovedError) Error() string {
	return fmt.Sprintf("%v: it was made as %s of %s", errMismatch, e.Made.File, e.Made.Host)
}

func (e *MovedError) Is(target error) bool { return target == errMismatch }

// Hosts returns the names of the two hosts, if this may be one host that was renamed.
func (e *MovedError) Hosts() (from, to string, ok bool) {
	return e.Made.Host, e.Now.Host, e.Made.Host != e.Now.Host && e.Made.File == e.Now.File
}

// Tunnels returns the names of the two tunnels, if this may be one tunnel that was renamed.
func (e *MovedError) Tunnels() (from, to string, ok bool) {
	from, made := strings.CutSuffix(e.Made.File, keySuffix)
	to, now := strings.CutSuffix(e.Now.File, keySuffix)
	return from, to, e.Made.Host == e.Now.Host && made && now
}

// hint says what to do about it. The names are part of the file, so git mv alone does not
// rename it.
func (e *MovedError) hint(path string) string {
	if from, to, ok := e.Hosts(); ok {
		return words.IfRenamed("", from, to) + "git log -- " + words.ForShell(path)
	}
	if from, to, ok := e.Tunnels(); ok {
		return words.IfRenamed("-t ", from, to) + "git log -- " + words.ForShell(path)
	}
	return "git log -- " + words.ForShell(path)
}

func isSecret(text []byte) bool {
	_, err := keyring.ParsePresharedKey(bytes.TrimSpace(text))
	return err == nil
}

// readMeta makes age parse the header; metaIdentity declines every file.
func (s *sealed) readMeta() error {
	id := new(metaIdentity)
	_, err := age.Decrypt(bytes.NewReader(s.age), id)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); !ok {
		return errors.New("its age header is cut short or changed")
	}
	if id.err != nil && !errors.Is(id.err, ErrNoMeta) {
		return id.err
	}
	s.meta = id.meta
	return nil
}

// decrypt fills text and returns how much of it. The whole file was
// authenticated when it succeeds.
func (s *sealed) decrypt(v Vault, host string, ids *Identities, text *[maxText]byte) (int, error) {
	if err := ids.use(); err != nil {
		return 0, err
	}
	r, err := age.Decrypt(bytes.NewReader(s.age), ids)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return 0, s.noIdentity(v, host, ids, nil)
	}
	if errors.Is(err, ErrInterrupted) {
		return 0, s.fault(ErrInterrupted, "")
	}
	if unusable := unusable(err); unusable != nil {
		return 0, s.noIdentity(v, host, ids, unusable)
	}
	if err != nil {
		return 0, s.damaged(errors.New("its age header was changed after it was made"))
	}
	return s.content(r, text)
}

// content reads all of the plaintext. age returns an error for a truncated file, which may
// be io.ErrUnexpectedEOF.
func (s *sealed) content(r io.Reader, text *[maxText]byte) (n int, err error) {
	for n < len(text) {
		k, err := r.Read(text[n:])
		n += k
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return 0, s.damaged(errors.New("its content is cut short or changed"))
		}
	}
	return 0, s.fault(fmt.Errorf("%w: it holds more than a key", errMismatch), "")
}

// unusable returns the faults in err about identities with a passphrase or of a plugin: the
// outermost ones.
func unusable(err error) error {
	switch e := err.(type) {
	case *fault.Fault:
		return e
	case interface{ Unwrap() error }:
		return unusable(e.Unwrap())
	case interface{ Unwrap() []error }:
		var all []error
		for _, in := range e.Unwrap() {
			all = append(all, unusable(in))
		}
		return errors.Join(all...)
	}
	return nil
}

// noIdentity is the error that says to whom s is encrypted, where identities were looked
// for, and which of them could not be used.
func (s *sealed) noIdentity(v Vault, host string, ids *Identities, unusable error) error {
	var b strings.Builder
	rs, _ := v.Recipients(host) // only to get their names: the error is about the file
	for _, f := range s.meta.Recipients {
		fmt.Fprintf(&b, "\n  encrypted to %s", rs.name(f))
	}
	for _, line := range ids.searched() {
		fmt.Fprintf(&b, "\n  searched %s", line)
	}
	hint := "give the identity of one of them with -i FILE; if nobody has one any more: wgkeys help recovery"
	if v.Sealed(host) {
		hint = onHost(host, "push "+host+" --host "+host)
	}
	if unusable == nil {
		return s.fault(fmt.Errorf("%w%s", ErrNoIdentity, b.String()), hint)
	}
	return s.fault(&notOpened{b.String(), unusable}, hint)
}

// notOpened is the error that no identity opens a file, with the errors of those that could
// not be used.
type notOpened struct {
	searched string
	unusable error
}

func (e *notOpened) Error() string {
	var b strings.Builder
	b.WriteString(ErrNoIdentity.Error() + e.searched)
	for line := range strings.SplitSeq(e.unusable.Error(), "\n") {
		b.WriteString("\n  " + line)
	}
	return b.String()
}

func (e *notOpened) Unwrap() []error { return []error{ErrNoIdentity, e.unusable} }

func (s *sealed) mismatch(format string, a ...any) error {
	return s.fault(fmt.Errorf("%w: %s", errMismatch, fmt.Sprintf(format, a...)), "git log -- "+words.ForShell(s.path))
}

func (s *sealed) damaged(err error) error {
	if err == files.ErrConflict {
		return s.fault(fmt.Errorf("%w: %w", errDamaged, err), "wgkeys check")
	}
	return s.fault(fmt.Errorf("%w: %w", errDamaged, err), files.Brings(err, "git log -- "+words.ForShell(s.path)))
}

func (s *sealed) fault(err error, hint string) error {
	return fault.WrapFile(err, "cannot open vault file", s.path, hint)
}
