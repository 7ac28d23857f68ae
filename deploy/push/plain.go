package push

import (
	_ "embed"
	"sync"

	"wgkeys/deploy/ssh"
)

//go:embed boot.sh
var bootScript string

//go:embed plain.sh
var plainScript string

// command is the same for every host and every file: paths and secrets are sent on standard
// input, so no login shell can misread them.
var command = sync.OnceValue(func() string {
	return ssh.ScriptCommand("wgkeys-push", bootScript, plainScript)
})
