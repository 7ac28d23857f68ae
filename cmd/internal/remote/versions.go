package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// ErrNotInstalled is the cause of an error about a host without wgkeys.
var ErrNotInstalled = errors.New("it is not installed there")

// upgrade is the command that brings this very program to a host.
func upgrade(host string) string { return "wgkeys install " + host }

// An otherVersionError is rotate.ErrVersion in words.
type otherVersionError string

func (o otherVersionError) Error() string        { return string(o) }
func (o otherVersionError) Is(target error) bool { return target == rotate.ErrVersion }

// otherVersion is the error of a host whose wgkeys does not know what this one asks.
func otherVersion(host, why string) error {
	return fault.WrapHost(otherVersionError(why), "another version of wgkeys is on host", host,
		"upgrade wgkeys on "+host+": "+upgrade(host))
}

// olderWords are what an older wgkeys says to what is new since.
var olderWords = []string{"no such command", "there is no flag", "json: unknown field", "no such request"}

// isOlder reports whether a wgkeys that said so is older than this one.
func isOlder(said string) bool {
	return slices.ContainsFunc(olderWords, func(w string) bool { return strings.Contains(said, w) })
}

// upgradeHint is what to do where the host has another wgkeys than this machine, which
// may be why err came of what was asked there; else "".
func (h *Hosts) upgradeHint(ctx context.Context, t *tunnel.Tunnel, host string, err error) string {
	exit := (*ssh.ExitError)(nil)
	if !errors.As(err, &exit) {
		return ""
	}
	if hint := h.upgradeIfOther(host, h.Version, exit.Stderr); hint != "" {
		return hint
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var said bytes.Buffer
	err = h.Runner(t, host).Run(ctx, asRoot+" --version", strings.NewReader(""), &bounded{w: &said, left: 1 << 10})
	theirs := ui.Printable(strings.TrimSpace(said.String()))
	if err != nil || !strings.HasPrefix(theirs, "wgkeys ") {
		return ""
	}
	return h.upgradeIfOther(host, theirs, "")
}

// upgradeIfOther is what to do where a host that said so has another version of wgkeys than
// this machine, as far as that is known; else "".
func (h *Hosts) upgradeIfOther(host, theirs, said string) string {
	hint := "upgrade wgkeys on " + host + ": " + upgrade(host)
	switch {
	case isOlder(said):
		return hint
	case theirs == h.Version || theirs == "":
		return ""
	}
	return fmt.Sprintf("%s has %s, and this machine %s; if that is why: %s", host, theirs, h.Version, hint)
}
