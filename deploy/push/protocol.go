package push

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"wgkeys/deploy/ssh"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// Protocol is the version of what controller and host say to each other, one
// line each, an answer for each request, in order:
//
//	host                             controller
//	machine BOOT MOUNT ROOT                                 which it is, where that can be seen
//	as USER                                                 not root: sudo is tried next
//	lack COMMAND                                            the host cannot go on
//	wgkeys 1 plain|receive
//	                                 look key|psk PATH
//	have MODE UID GID FINGERPRINT
//	none                                                    no such file
//	bad                                                     empty, or a key cut short
//	deny REASON                                             nothing that may be replaced
//	                                 put key|psk FINGERPRINT KEY PATH
//	                                                        not where look says deny, nor where the key
//	                                                        is another since
//	                                 mode key|psk PATH      owner and mode only
//	done FINGERPRINT                                        of what is in place now
//	fail REASON                                             what was there before still is
//
// The controller ends by closing its side. Neither side trusts the other: lines
// and their number are bounded, and what the host says is printed only after
// [ssh.Printable].
const Protocol = 1

const (
	maxLine  = 8 << 10 // PATH_MAX is 4096
	maxFiles = 1024
)

// notKey is the reason not to replace a file with other content: push writes as root
// wherever the tunnel file says, and must not be able to destroy /etc/shadow.
const notKey = "holds something that is no key"

// A kind says what a key file contains.
type kind string

const (
	privateKey   kind = "key"
	presharedKey kind = "psk"
)

// kindOf returns the kind of key that has this fingerprint.
func kindOf(of string) (kind, bool) {
	if raw, err := base64.StdEncoding.Strict().DecodeString(of); err == nil && len(raw) == 32 && len(of) == 44 {
		return privateKey, true
	}
	if _, err := hex.DecodeString(of); err == nil && len(of) == 2*sha256.Size && of == strings.ToLower(of) {
		return presharedKey, true
	}
	return "", false
}

// fingerprintOf identifies the key in a key file's content: a private key by its public
// key, a preshared key by the fingerprint that package keyring defines. A preshared key is
// there in case X25519 is broken one day, so it must not be identified by its X25519 public
// value.
//
// It accepts what wg(8) does: white space after the key, and private keys that
// are not clamped.
func fingerprintOf(k kind, text []byte) (string, bool) {
	line := bytes.TrimRight(text, " \t\r\n\v\f")
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	defer clear(raw)
	n, err := base64.StdEncoding.Strict().Decode(raw, line)
	if err != nil || n != 32 || len(line) != 44 {
		return "", false
	}
	if k == presharedKey {
		h := sha256.New()
		io.WriteString(h, "wgkeys psk\n")
		h.Write(text)
		return hex.EncodeToString(h.Sum(nil)), true
	}
	private, err := ecdh.X25519().NewPrivateKey(raw[:n])
	if err != nil {
		return "", false
	}
	return base64.StdEncoding.EncodeToString(private.PublicKey().Bytes()), true
}

// wellFormed reports whether text is exactly one key and its newline.
func wellFormed(text []byte) bool {
	_, ok := fingerprintOf(privateKey, text)
	return ok && len(text) == 45 && text[44] == '\n'
}

func checkFiles(host string, files []File) error {
	if len(files) > maxFiles {
		return fault.NewHost("too many key files for host", host, fmt.Sprintf("%d, at most %d", len(files), maxFiles), "")
	}
	seen := map[string]bool{}
	for _, f := range files {
		if err := keyring.CheckFile(f.Path); err != nil {
			return fault.WrapFile(err, "cannot push to host "+strconv.Quote(host)+" the file", f.Path, "")
		}
		if _, ok := kindOf(f.Want); !ok {
			return fault.NewFile("cannot push to host "+strconv.Quote(host)+" the file", f.Path, "its public key is not known",
				"wgkeys gen "+host)
		}
		if seen[f.Path] {
			return fault.NewFile("cannot push to host "+strconv.Quote(host)+" the file", f.Path, "it is listed twice", "")
		}
		seen[f.Path] = true
	}
	return nil
}

// A refusal is a host's "deny" or "fail" about one file; the others go on.
type refusal struct{ why string }

func (r *refusal) Error() string { return r.why }

func refuse(reason string) *refusal {
	reason = ssh.WithoutKeys(ssh.Printable(reason))
	if reason == "" {
		reason = "the host gives no reason"
	}
	return &refusal{strings.ToLower(reason[:1]) + reason[1:]}
}

// An answer is a host's answer to "look".
type answer struct {
	exists      bool
	fingerprint string // "": no key
	owner       string // mode, uid and gid as ls -ln shows them
}

// private reports whether only root can read the file, or also a group that was chosen on
// purpose (files.Readers), which root's own is not. A dot or a plus after the mode means an
// SELinux context or an ACL, whose mask is the group's mode.
func (a answer) private() bool {
	mode, owner, _ := strings.Cut(a.owner, " ")
	user, group, _ := strings.Cut(owner, " ")
	switch strings.TrimRight(mode, ".+") {
	case "-rw-------":
		return user == "0" && group == "0"
	case "-rw-r-----", "-r--r-----":
		return user == "0" && group != "0"
	}
	return false
}

func parseAnswer(line string) (answer, error) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "none":
		return answer{}, nil
	case "bad":
		return answer{exists: true}, nil
	case "deny":
		return answer{}, refuse(rest)
	case "have":
		f := strings.Split(rest, " ")
		if len(f) != 4 || len(f[0]) < 10 || len(f[0]) > 12 || !digits(f[1]) || !digits(f[2]) {
			break
		}
		if _, ok := kindOf(f[3]); ok && ssh.Printable(f[0]) == f[0] {
			return answer{true, f[3], strings.Join(f[:3], " ")}, nil
		}
	}
	return answer{}, unknown(line)
}

func digits(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil
}

// parseOutcome parses a host's answer to "put" and "mode": the fingerprint of the key in
// place.
func parseOutcome(line string) (string, error) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "done":
		if _, ok := kindOf(rest); ok {
			return rest, nil
		}
	case "fail":
		return "", refuse(rest)
	}
	return "", unknown(line)
}

func unknown(line string) error {
	return fmt.Errorf("%q is no answer of the protocol", ssh.WithoutKeys(ssh.Printable(line[:min(len(line), 60)])))
}
