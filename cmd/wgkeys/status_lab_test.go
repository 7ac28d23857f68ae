package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// TestLabStatusConnections: all that status tells of a host takes one connection, also where
// the tunnel is up and differs from its file.
func TestLabStatusConnections(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Write(u.Basalt, "/root/bin/ssh", "#!/bin/sh\necho connection >>/root/connections\nexec /usr/bin/ssh \"$@\"\n")
	u.Must(u.Basalt, "chmod +x /root/bin/ssh")
	u.Must(u.Basalt, "wgkeys apply --quiet shale && wgkeys apply --quiet && ping -6 -n -c 1 -w 10 "+demo.Internet)
	for _, test := range []struct {
		name, change string
		code         int
	}{
		{"as it should be", "true", ui.ExitDone},
		{"drift", "sed -i 's/forward   = true/forward = false/' tunnels/wg0.toml", ui.ExitFindings},
		{"not up", "wgkeys down --quiet shale", ui.ExitFindings},
	} {
		u.Must(u.Basalt, test.change)
		r := u.Run(u.Basalt, "rm -f /root/connections; PATH=/root/bin:$PATH wgkeys status shale")
		if n := strings.Count(u.Read(u.Basalt, "/root/connections"), "\n"); r.Code != test.code || n != 1 {
			t.Errorf("%s: exit %d after %d connections:\n%s%s", test.name, r.Code, n, r.Stdout, r.Stderr)
		}
	}
	u.Must(u.Basalt, "wgkeys down --quiet")
}
