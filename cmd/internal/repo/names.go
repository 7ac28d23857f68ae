package repo

import (
	"os"
	"slices"
	"strings"

	"wgkeys/keyring/words"
)

// Names of files in the repository.

// Marker is the file that makes a folder a repository of wgkeys.
const Marker = "wgkeys.toml"

// MaxFile is a bound for a file of settings, in bytes.
const MaxFile = 1 << 20

// OwnerOf parses the name of a vault file: TUNNEL.key, TUNNEL.next.key or TUNNEL.PEER.psk.
// A tunnel's name may contain dots, a host's may not.
func OwnerOf(file string) (tunnel, peer string) {
	if name, ok := strings.CutSuffix(file, ".psk"); ok {
		i := strings.LastIndexByte(name, '.')
		return name[:max(i, 0)], name[i+1:]
	}
	return strings.TrimSuffix(strings.TrimSuffix(file, ".key"), ".next"), ""
}

// IsKeyFile reports whether a name is that of a file of the vault or the keyring.
func IsKeyFile(name string) bool {
	return strings.HasSuffix(name, ".key.age") || strings.HasSuffix(name, ".psk.age") || strings.HasSuffix(name, ".pub")
}

// MaxVaultFile is a bound for a vault file, in bytes.
const MaxVaultFile = 64 << 10

// IsVaultFile reports whether a path is that of a file of the vault.
func IsVaultFile(path string) bool {
	return strings.HasSuffix(path, ".key.age") || strings.HasSuffix(path, ".psk.age")
}

// IsRecipients reports whether a path is that of a list of recipients.
func IsRecipients(path string) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	return strings.HasPrefix(name, "recipients") && strings.HasSuffix(name, ".txt")
}

// hookMark distinguishes our hook from one of the user's.
const hookMark = "# wgkeys: no secret in the clear is committed"

// PeerOf is the peer that shares the file TUNNEL.PEER.psk.
func PeerOf(tunnel, file string) string {
	return strings.TrimSuffix(strings.TrimPrefix(file, tunnel+"."), ".psk")
}

// Existing returns those of the paths that exist, quoted for a hint to remove them: rm
// fails for others, such as the vault file of a host that makes its key itself.
func Existing(paths ...string) string {
	paths = slices.DeleteFunc(slices.Clone(paths), func(path string) bool {
		_, err := os.Lstat(path)
		return err != nil
	})
	for i, path := range paths {
		paths[i] = words.ForShell(path)
	}
	return strings.Join(paths, " ")
}
