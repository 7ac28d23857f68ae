package tunnel_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"wgkeys/deploy/tunnel"
)

// many returns a tunnel of n hosts: a hub with spokes, or a mesh in which every
// host has an endpoint.
func many(n int, mesh bool) fs.FS {
	var b strings.Builder
	b.WriteString("[hosts.hub]\nendpoint = \"192.0.2.1\"\naddresses = [\"10.0.0.1/8\"]\nforward = true\n")
	for i := 2; i <= n; i++ {
		fmt.Fprintf(&b, "\n[hosts.h%d]\naddresses = [\"10.%d.%d.%d/8\"]\nkeepalive = 25\n",
			i, i>>16, i>>8&255, i&255)
		if mesh {
			fmt.Fprintf(&b, "endpoint = \"h%d.example.net\"\n", i)
		}
	}
	return fstest.MapFS{"wg0.toml": {Data: []byte(b.String())}}
}

func benchmarkParse(b *testing.B, mesh bool) {
	fsys := many(10_000, mesh)
	keys := publicKeys(b, parse(b, fsys, "wg0").Hosts())
	for b.Loop() {
		tun, err := tunnel.Parse(fsys, "wg0")
		if err != nil {
			b.Fatal(err)
		}
		v, err := tun.View("hub", keys)
		if err != nil || len(v.Peers) != 9999 {
			b.Fatalf("%d peers: %v", len(v.Peers), err)
		}
	}
}

// Parsing ten thousand hosts and deriving the view of the one with the most
// peers.
func BenchmarkHub(b *testing.B)  { benchmarkParse(b, false) }
func BenchmarkMesh(b *testing.B) { benchmarkParse(b, true) }

func BenchmarkSpoke(b *testing.B) {
	tun := parse(b, many(10_000, false), "wg0")
	keys := publicKeys(b, tun.Hosts())
	for b.Loop() {
		if _, err := tun.View("h10000", keys); err != nil {
			b.Fatal(err)
		}
	}
}
