package rotate

import "path/filepath"

// NextFile returns the path of the next key on a host, beside its key file.
func NextFile(tunnel, keyFile string) string {
	return filepath.Join(filepath.Dir(keyFile), tunnel+".next.key")
}
