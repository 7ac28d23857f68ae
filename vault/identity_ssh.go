package vault

import (
	"crypto/rsa"
	"errors"
	"os"
	"strings"
	"syscall"

	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"
)

func parseSSHIdentity(path string, text []byte) (found identityFile, err error) {
	id, err := agessh.ParseIdentity(text)
	if missing, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		return parseLockedSSH(path, text, missing.PublicKey)
	}
	if err != nil {
		return found, errNoSSH
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return found, errNoSSH
	}
	if weakRSA(signer.PublicKey()) {
		return found, errWeakRSA
	}
	return identityFile{silent: []silent{{id, authorized(signer.PublicKey())}}}, nil
}

// weakRSA reports whether a key is too short for agessh to have a recipient for it.
func weakRSA(k ssh.PublicKey) bool {
	c, ok := k.(ssh.CryptoPublicKey)
	if !ok {
		return false
	}
	key, ok := c.CryptoPublicKey().(*rsa.PublicKey)
	return ok && key.Size() < 2048/8
}

func authorized(k ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

// parseLockedSSH needs the public key, so that the user is asked for a passphrase only if
// the key can help. Old forms of the file do not contain it.
func parseLockedSSH(path string, text []byte, public ssh.PublicKey) (found identityFile, err error) {
	beside := public == nil
	if beside {
		var err error
		if public, err = readBeside(path); err != nil {
			return found, errors.New("an SSH key of an old form under a passphrase, and its public key is not beside it in a " +
				"file .pub")
		}
	}
	if t := public.Type(); t != ssh.KeyAlgoED25519 && t != ssh.KeyAlgoRSA {
		return found, errNoSSH
	}
	if weakRSA(public) {
		return found, errWeakRSA
	}
	return identityFile{locked: []*locked{{path: path, text: text, public: public, beside: beside}}}, nil
}

// readBeside reads the public key file beside an SSH key.
func readBeside(path string) (ssh.PublicKey, error) {
	f, err := os.OpenFile(path+".pub", os.O_RDONLY|syscall.O_NONBLOCK, 0) // O_NONBLOCK: a FIFO may have no writer
	if err != nil {
		return nil, err
	}
	defer f.Close()
	line, err := readBounded(f)
	if err != nil {
		return nil, err
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(line)
	return public, err
}
