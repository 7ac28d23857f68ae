package push

import "wgkeys/deploy/ssh"

// PlainScript is what speaks for a host without wgkeys, as it is sent there.
func PlainScript() string { return ssh.OneLine(plainScript) }
