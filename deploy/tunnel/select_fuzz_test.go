package tunnel_test

import (
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"wgkeys/deploy/tunnel"
)

// FuzzSelect: words select hosts of the tunnels alone, but for a plain name, each once, and
// by a pattern those that path.Match says; or there is an error.
func FuzzSelect(f *testing.F) {
	const text = `
[hosts.web1]
endpoint = "192.0.2.1"
tags = ["web", "b-1"]
[hosts.web2]
addresses = ["10.0.0.2"]
tags = ["web"]
[hosts.db]
addresses = ["10.0.0.3"]
[hosts.phone]
managed = false
addresses = ["10.0.0.4"]
tags = ["web", "p"]
`
	tun, err := tunnel.Parse(fstest.MapFS{"wg0.toml": {Data: []byte(text)}}, "wg0")
	if err != nil {
		f.Fatal(err)
	}
	for _, words := range []string{"web1 db", "*", "w?b[12] web1", "@web", "@p", "[", `\`, "@", "[!a]*", "web[1-", ""} {
		f.Add(words)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, " ")
		hosts, err := tunnel.Select([]*tunnel.Tunnel{tun}, words)
		if err != nil {
			if hosts != nil || len(err.Error()) > 1000+8*len(line) {
				t.Errorf("%q with the error %v", hosts, err)
			}
			return
		}
		for i, host := range hosts {
			meant := slices.ContainsFunc(words, func(w string) bool {
				matched, _ := path.Match(w, host)
				return w == host || matched || strings.HasPrefix(w, "@")
			})
			if !meant || slices.Contains(hosts[:i], host) || !slices.Contains(words, host) &&
				!slices.Contains(tun.Hosts(), host) {
				t.Errorf("%q selects %q", words, hosts)
			}
		}
	})
}
