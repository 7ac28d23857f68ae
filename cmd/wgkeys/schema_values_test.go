package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel"
)

// schemaValues are values of all kinds that a key of a tunnel file may have or be given by
// mistake, one a line.
const schemaValues = `
true
false
0
1
-1
25
253
254
255
575
576
1279
1280
65535
65536
2147483647
4294967295
4294967296
9223372036854775807
0x57
1_000
1.5
2026-01-01
""
" "
"-"
"a"
"A"
"b"
"_"
"-a"
"a-"
"a b"
"a.b"
"a_b"
"ä"
"a\tb"
"a,b"
"@a"
"~a"
"~."
"."
"true"
"off"
"main"
"tunnel"
"lo"
"eth0"
"eth0.5"
"eth0:1"
"10.0.0.1"
"10.0.0.1/24"
"10.0.0.0/24"
"10.0.0.0/33"
"10.0.0.2 peer 10.0.1.1/32"
"::1"
"::/0"
"0.0.0.0/0"
"2001:db8::1"
"2001:DB8::1/128"
"fe80::1%eth0"
"::ffff:10.0.0.1"
"[2001:db8::1]"
"[2001:db8::1]:443"
"10.0.0.1:443"
"10.0.0.1:0"
"example.net:443"
"example.net."
"*.example.net"
"root@example.net"
"ssh://root@example.net:22"
"root@example.net:22"
"root@2001:db8::1"
"-oProxyCommand=x"
"/etc/wireguard/a.key"
"/etc/wireguard/a.psk"
"/"
"/a"
"a.key"
"/a b"
"/a/../b.key"
{}
{ a = 1 }
{ b = { keepalive = 5 } }
{ "net.ipv4.tcp_syncookies" = 1 }
{ "net.ipv4.conf.wg0.rp_filter" = true }
{ net.ipv4.conf.wg0.rp_filter = 0 }
{ "net/ipv4/conf/wg0/rp_filter" = "2" }
{ "net.core.rmem_max" = -1 }
{ "net.ipv4.tcp_rmem" = "4096 87380 6291456" }
{ "net.x" = 1.5 }
{ "net.x" = [] }
{ "net" = 1 }
{ "network.x" = 1 }
{ "kernel.panic" = 1 }
`

// schemaLists are lists of no value and of several.
const schemaLists = `
[]
[[]]
["eth0", "tunnel"]
["10.0.0.0/8", "::/0"]
["a.example.net", "192.0.2.1:443"]
`

// TestTunnelSchemaValues: of every key, whatever value the program takes the schema takes, alone
// and in a list, and so does the program the constants and bounds that the schema names. A
// value of another type, or a number beyond the bounds, both refuse.
func TestTunnelSchemaValues(t *testing.T) {
	t.Parallel()
	schema, err := schemaNamed("tunnel")
	if err != nil {
		t.Fatal(err)
	}
	top, host, pair := tunnel.Keys()
	taken, refused := 0, 0
	for table, keys := range map[string][]string{"": top, "hosts.a": host, "hosts.a.peer.b": pair} {
		for _, key := range keys {
			took := 0
			for _, value := range valuesAndLists() {
				text := withValue(table, key, value)
				_, err := tunnel.Parse(oneTunnel(text), "wg0")
				valid := validTunnel(t, schema, text)
				switch {
				case err == nil && valid != nil:
					t.Errorf("the program takes what the schema does not: %v\n%s", valid, text)
				case err == nil:
					took++
				case valid == nil && ofAnotherKind(err):
					t.Errorf("the schema takes what is of another kind to the program: %v\n%s", err, text)
				default:
					refused++
				}
			}
			if took == 0 {
				t.Errorf("the program takes no value of %s %s", table, key)
			}
			taken += took
		}
	}
	t.Logf("%d values taken, %d refused", taken, refused)
}

// valuesAndLists are the values, each also in a list, and the lists.
func valuesAndLists() []string {
	values := strings.Split(strings.TrimSpace(schemaValues), "\n")
	for _, length := range []int{15, 16, 63, 64, 255, 256} { // of names, tags and descriptions
		values = append(values, strconv.Quote(strings.Repeat("a", length)), `"`+strings.Repeat("ä", length/2)+`"`)
	}
	all := append(strings.Split(strings.TrimSpace(schemaLists), "\n"), values...)
	for _, v := range values {
		all = append(all, "["+v+"]")
	}
	return all
}

// withValue is a tunnel of two hosts that can be peers, with this one key and what it needs.
func withValue(table, key, value string) string {
	if table == "" && key == "hosts" {
		return "hosts = " + value + "\n"
	}
	of := map[string]string{"hosts.a": "endpoint = \"192.0.2.9:1\"\naddresses = [\"10.99.0.1/24\"]\n"}
	if lines := strings.SplitAfter(of[table], "\n"); table == "hosts.a" {
		of[table] = strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, key+" ") }), "")
	}
	of[table] += key + " = " + value + "\n"
	switch key {
	case "gateway":
		of["hosts.a.peer.b"] = "allowed_ips = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n"
	case "psk_file":
		of[table] += "psk = true\n"
	}
	text := of[""] + "[hosts.a]\n" + of["hosts.a"] + "[hosts.b]\nendpoint = \"192.0.2.8:1\"\n"
	if pair := of["hosts.a.peer.b"]; pair != "" {
		text += "[hosts.a.peer.b]\n" + pair
	}
	return text
}

// ofAnotherKind reports whether the program refused the type of the value, or a number that
// is out of its bounds.
func ofAnotherKind(err error) bool {
	return strings.Contains(err.Error(), ": found ") && !strings.Contains(err.Error(), "found a date")
}

// TestTunnelSchemaBounds: the constants and the bounds in the schema are values that the
// program takes.
func TestTunnelSchemaBounds(t *testing.T) {
	t.Parallel()
	doc := readTunnelSchema(t)
	tried := 0
	var try func(table, key string, p schemaProperty)
	try = func(table, key string, p schemaProperty) {
		var values []string
		if p.Const != nil {
			values = append(values, fmt.Sprintf("%q", p.Const))
		}
		for _, bound := range []*json.Number{p.Minimum, p.Maximum} {
			if bound != nil {
				values = append(values, bound.String())
			}
		}
		for _, value := range values {
			tried++
			if _, err := tunnel.Parse(oneTunnel(withValue(table, key, value)), "wg0"); err != nil {
				t.Errorf("the schema names %s for %s %s, which the program refuses: %v", value, table, key, err)
			}
		}
		for _, one := range p.AnyOf {
			try(table, key, one)
		}
	}
	for table, of := range map[string]schemaTable{
		"": doc.schemaTable, "hosts.a": doc.Definitions["host"], "hosts.a.peer.b": doc.Definitions["pair"],
	} {
		for key, p := range of.Properties {
			try(table, key, p)
		}
	}
	if tried < 20 {
		t.Errorf("%d constants and bounds are all that was found", tried)
	}
}
