package install_test

import (
	"strings"
	"testing"
	"unicode"

	"wgkeys/deploy/install"
)

// FuzzHost: whatever a host says, nothing of it reaches a terminal but what is printable, not
// much of it, and it has the program only if it said so.
func FuzzHost(f *testing.F) {
	const hello = "wgkeys-install 1 Linux x86_64\n"
	for _, s := range []string{
		"", hello + "none\ndone wgkeys 1\n", hello + "none\ndone wgkeys 1\nfirst /usr/bin/wgkeys\n", "as deploy\nlack sudo\n",
		hello + "has " + strings.Repeat("0", 64) + " wgkeys 1\ndone wgkeys 2\n", hello + "package 00 wgkeys\x1b[2J\n",
		hello + "deny \u202eit is\n", "wgkeys-install 1 Linux\n", "wgkeys-install 1 \n", "x\n" + hello + "none\nfail disk\n",
	} {
		f.Add(s)
	}
	programs := new(install.Programs)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := install.Host(t.Context(), says(text), "shale", install.Options{Program: programs.For})
		if err == nil && !strings.Contains(text, "done ") && !strings.Contains(text, "has ") &&
			!strings.Contains(text, "package ") {
			t.Errorf("%+v, though the host did not say so", r)
		}
		if err == nil {
			return
		}
		if said := err.Error(); len(said) > 8<<10 || strings.ContainsFunc(said, func(c rune) bool {
			return c != '\n' && (unicode.IsControl(c) || unicode.Is(unicode.Cf, c))
		}) {
			t.Errorf("%d bytes of error: %q", len(said), said)
		}
	})
}
