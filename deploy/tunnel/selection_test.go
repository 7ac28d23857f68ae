package tunnel_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"wgkeys/deploy/tunnel"
)

// TestSelect: names, patterns and tags, each host once, and no host that nobody logs in to
// but by its name.
func TestSelect(t *testing.T) {
	const text = `
[hosts.web1]
endpoint = "192.0.2.1"
tags = ["web", "berlin"]
[hosts.web2]
addresses = ["10.0.0.2"]
tags = ["web"]
[hosts.db]
addresses = ["10.0.0.3"]
tags = ["berlin"]
[hosts.webphone]
managed = false
addresses = ["10.0.0.4"]
tags = ["web", "phones"]
`
	const other = "[hosts.db]\nendpoint = \"192.0.2.3\"\nlisten_port = 1\n[hosts.mail]\naddresses = [\"10.1.0.2\"]\n"
	fsys := fstest.MapFS{"wg0.toml": {Data: []byte(text)}, "wg1.toml": {Data: []byte(other)}}
	var tunnels []*tunnel.Tunnel
	for _, name := range []string{"wg0", "wg1"} {
		one, err := tunnel.Parse(fsys, name)
		if err != nil {
			t.Fatal(err)
		}
		tunnels = append(tunnels, one)
	}
	for words, want := range map[string]string{
		"":              "",
		"web2 db":       "web2 db",
		"db web2 db":    "db web2",
		"nosuch":        "nosuch",
		"*":             "db mail web1 web2",
		"web?":          "web1 web2",
		"[dm]*":         "db mail",
		"@web":          "web1 web2",
		"@berlin @web":  "db web1 web2",
		"web2 @web":     "web2 web1",
		"webphone @web": "webphone web1 web2",
		"@phones":       `nobody logs in to the hosts of "@phones": they have managed = false`,
		"webp*":         `nobody logs in to the hosts of "webp*": they have managed = false`,
		"x*":            `no host matches "x*": no tunnel file names one`,
		"@wep":          `no host has the tag "@wep": there are @berlin, @phones, @web: did you mean "@web"?`,
		"@":             `no host has the tag "@": there are @berlin, @phones, @web`,
		"[a":            `not a pattern of hosts: "[a": a [ is not closed`,
		"../*":          `no host matches "../*": no tunnel file names one`,
	} {
		hosts, err := tunnel.Select(tunnels, strings.Fields(words))
		got := strings.Join(hosts, " ")
		if err != nil {
			got = err.Error()
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", words, d)
		}
	}
}

// TestTags: a tag is one word that no shell sees anything in.
func TestTags(t *testing.T) {
	for _, bad := range []string{`"a b"`, `"@a"`, `""`, `"a*"`, `"web", "web"`, "1"} {
		fsys := fstest.MapFS{"wg0.toml": {Data: []byte("[hosts.a]\nendpoint = \"192.0.2.1\"\ntags = [" + bad + "]\n")}}
		_, err := tunnel.Parse(fsys, "wg0")
		if err == nil || !strings.Contains(err.Error(), "tags") && !strings.Contains(err.Error(), "wg0.toml:3") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
