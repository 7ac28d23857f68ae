package main

import (
	"cmp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// TestLabJSON: of one host and of several, what apply, confirm and install write for programs
// is one document, as the schema has it.
func TestLabJSON(t *testing.T) {
	u := labtest.NewUsers(t)
	wants := func(code int, command string, has ...string) {
		t.Helper()
		r := u.Run(u.Basalt, command)
		name := strings.Fields(command)[1]
		name = cmp.Or(schemaOf[name], name)
		schema, err := schemaNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(r.Stdout))
		if err == nil {
			err = schema.Validate(value)
		}
		if r.Code != code || err != nil {
			t.Errorf("%s exits %d, %v:\n%s%s", command, r.Code, err, r.Stdout, r.Stderr)
		}
		for _, h := range has {
			if !strings.Contains(r.Stdout, h) {
				t.Errorf("%s: no %s in\n%s", command, h, r.Stdout)
			}
		}
	}
	wants(ui.ExitDone, "wgkeys apply --json shale", `"step": "ip link add wg0 `)
	u.Must(u.Basalt, "wgkeys plan shale")
	wants(ui.ExitDone, "wgkeys confirm --json shale", `"confirmed": false`)
	u.Must(u.Shale, "wgkeys down -q && wgkeys apply -q --confirm 100s")
	wants(ui.ExitDone, "wgkeys confirm --json shale", `"tunnel": "wg0"`, `"confirmed": true`)
	u.Must(u.Shale, "! ls /run/wgkeys/*pending*")
	wants(ui.ExitDone, "wgkeys confirm --json shale 'sh*'", `"host": "shale"`, `"confirmed": false`)
	u.Must(u.Basalt, "wgkeys down -q shale")

	wants(ui.ExitDone, "wgkeys install --json shale", `"action": "unchanged"`)
	u.Must(u.Shale, withoutWgkeys+"; rm /etc/wireguard/*.key")
	wants(ui.ExitFindings, "wgkeys install --json -n shale", `"action": "installed"`)
	wants(ui.ExitDone, "wgkeys install --json --up shale 'sh*'", `"action": "installed"`,
		`"path": "/etc/wireguard/wg0.key"`,
		`"step": "ip link add wg0 `, `"host": "shale"`)
	u.Must(u.Basalt, "wgkeys plan shale && wgkeys apply -q")
	wants(ui.ExitDone, "wgkeys install --json -n")

	// Of a host that does not answer beside one that does.
	u.Must(u.Basalt, `printf '[hosts.jade]\nssh = "ssh://root@93.93.130.7:1"\nendpoint = "93.93.130.7:1"\n' >>tunnels/wg0.toml
		wgkeys gen -q jade`)
	for _, verb := range []string{"push", "plan", "apply", "confirm", "install", "status", "down -n"} {
		wants(ui.ExitSome, "wgkeys "+verb+" --json --timeout 5s shale jade", `"shale"`, `"jade"`, "cannot reach host")
	}
	u.Must(u.Basalt, "wgkeys down -q && wgkeys down -q shale")
}
