package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// upgradeOn is the hint to do that.
func upgradeOn(host string) string { return "upgrade wgkeys on " + host + ": " + upgrade(host) }

// otherVersion is the error of a host whose wgkeys does not understand this one's request.
func otherVersion(host, why string) error {
	return rotate.OtherVersion(host, why, upgradeOn(host))
}

// isOlder reports whether wgkeys on a host failed because it does not know what it is asked for:
// a verb or a flag, since its command line is this program's own, or a key of the view.
func isOlder(exit *ssh.ExitError) bool {
	return exit.Code == ui.ExitUsage || tunnel.UnknownKey(exit.Stderr) != ""
}

// upgradeHint is the hint if the host has another wgkeys than this machine, which may be
// the cause of err; otherwise "".
func (h *Hosts) upgradeHint(ctx context.Context, t *tunnel.Tunnel, host string, err error) string {
	exit := (*ssh.ExitError)(nil)
	if !errors.As(err, &exit) {
		return ""
	}
	if isOlder(exit) {
		return upgradeOn(host)
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
	return h.upgradeIfOther(host, theirs)
}

// upgradeIfOther is the hint if the host has another version of wgkeys than this machine,
// as far as that is known; otherwise "".
func (h *Hosts) upgradeIfOther(host, theirs string) string {
	if theirs == h.Version || theirs == "" {
		return ""
	}
	return fmt.Sprintf("%s has %s, and this machine %s; if that is why: %s", host, theirs, h.Version, upgradeOn(host))
}
