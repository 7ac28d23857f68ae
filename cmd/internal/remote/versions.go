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
)

// ErrNotInstalled is the cause of an error about a host without wgkeys.
var ErrNotInstalled = errors.New("it is not installed there")

// upgrade is the command that installs this program on a host.
func upgrade(host string) string { return "wgkeys install " + host }

// otherVersion is the error of a host whose wgkeys does not understand this one's request.
func otherVersion(host, why string) error {
	return rotate.OtherVersion(host, why, "upgrade wgkeys on "+host+": "+upgrade(host))
}

// olderWords are answers of an older wgkeys to something that it does not know.
var olderWords = []string{"no such command", "there is no flag", "json: unknown field", "no such request"}

// isOlder reports whether an answer is that of an older wgkeys.
func isOlder(said string) bool {
	return slices.ContainsFunc(olderWords, func(w string) bool { return strings.Contains(said, w) })
}

// upgradeHint is the hint if the host has another wgkeys than this machine, which may be
// the cause of err; otherwise "".
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
	own := &ownWords{w: &bounded{w: &said, left: 1 << 10}}
	err = h.Runner(t, host).Run(ctx, asRoot+" --version", strings.NewReader(""), own)
	own.flush()
	theirs := ui.Printable(strings.TrimSpace(said.String()))
	if err != nil || !strings.HasPrefix(theirs, "wgkeys ") {
		return ""
	}
	return h.upgradeIfOther(host, theirs, "")
}

// upgradeIfOther is the hint if the host has another version of wgkeys than this machine,
// as far as that is known; otherwise "".
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
