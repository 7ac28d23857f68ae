package push_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"wgkeys/deploy/ssh/sshtest"
)

// TestPushBrokenProgram: where the host's wgkeys does not run, sh takes the files, over the
// same connection.
func TestPushBrokenProgram(t *testing.T) {
	sshtest.Need(t, "wg", "busybox", "bash", "mksh")
	self, err := os.Executable()
	must(t, err)
	whole, err := os.ReadFile(self)
	must(t, err)
	other := append([]byte(nil), whole...)
	binary.LittleEndian.PutUint16(other[18:], 0xf3) // e_machine of elf(5): EM_RISCV
	for name, program := range map[string][]byte{
		"empty": {}, "header alone": whole[:4096], "half": whole[:len(whole)/2], "another architecture": other,
	} {
		for _, shell := range []string{"dash", "bash", "mksh", "busybox"} {
			t.Run(name+"/"+shell, func(t *testing.T) {
				t.Parallel()
				bin := t.TempDir()
				must(t, os.Chmod(bin, 0o755))
				must(t, os.WriteFile(filepath.Join(bin, "wgkeys"), program, 0o755))
				c := speakers[shell](t)
				c.Setup = append(c.Setup, "mount --bind "+bin+" /usr/local/bin")
				h := newHost(t, shell, c)
				key := newKey(t, filepath.Join(t.TempDir(), "wg0.key"))
				results, err := h.push(t, key.File)
				must(t, err)
				if got := actions(results); got != "installed" {
					t.Error(got)
				}
				key.inPlace(t)
			})
		}
	}
}
