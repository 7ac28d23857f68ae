package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// besideTunnel is another one of the first users' hosts.
const besideTunnel = `listen_port = 30569
[hosts.shale]
ssh       = "root@93.93.130.7"
endpoint  = "93.93.130.7"
addresses = ["10.9.0.1/32"]
[hosts.basalt]
addresses = ["10.9.0.2/32"]
`

// TestLabStatusConnections: all that status tells of a host takes one connection, also where
// the tunnel is up and differs from its file, and where there are two.
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
		{"two, one of them up", "wgkeys gen -q -t wg1 shale basalt && wgkeys push -q shale && wgkeys apply -q -t wg1 shale",
			ui.ExitFindings},
		{"both up", "sed -i 's/forward   = false/forward = true/' tunnels/wg0.toml && wgkeys apply -q -t wg0 shale",
			ui.ExitDone},
	} {
		if test.name == "two, one of them up" {
			u.Write(u.Basalt, "/root/net/tunnels/wg1.toml", besideTunnel)
		}
		u.Must(u.Basalt, test.change)
		r := u.Run(u.Basalt, "rm -f /root/connections; PATH=/root/bin:$PATH wgkeys status shale")
		if n := strings.Count(u.Read(u.Basalt, "/root/connections"), "\n"); r.Code != test.code || n != 1 {
			t.Errorf("%s: exit %d after %d connections:\n%s%s", test.name, r.Code, n, r.Stdout, r.Stderr)
		}
	}
	if r := u.Run(u.Basalt, "wgkeys status shale"); !strings.Contains(r.Stdout, "\nshale  wg0 ") ||
		!strings.Contains(r.Stdout, "\nshale  wg1 ") {
		t.Errorf("of two tunnels:\n%s", r.Stdout)
	}
	u.Must(u.Basalt, "wgkeys down --quiet -t wg0 && wgkeys down --quiet -t wg0 shale && wgkeys down --quiet -t wg1 shale")
}

// A statusLab is the first users' tunnel, up, with a third host that nobody reaches.
type statusLab struct{ *labtest.Users }

// TestLabStatusForms: how hosts stand, in each form that people and programs read.
func TestLabStatusForms(t *testing.T) {
	t.Parallel()
	l := statusLab{labtest.NewUsers(t)}
	l.Must(l.Basalt, "wgkeys apply --quiet shale && wgkeys apply --quiet && ping -6 -n -c 1 -w 10 "+demo.Internet)
	l.table()
	l.json("all is well", ui.ExitDone, "")
	l.prometheus("all is well", ui.ExitDone, `wgkeys_answered{host="shale",tunnel="wg0"} 1`,
		`wgkeys_drift_steps{host="shale",tunnel="wg0"} 0`,
		`wgkeys_peers_up{host="basalt",tunnel="wg0"} 1`)

	l.Must(l.Shale, "ip link set wg0 mtu 1300")
	r := l.exits(ui.ExitFindings, "wgkeys status")
	if lines := strings.Split(r.Stdout, "\n"); len(lines) != 5 || !strings.HasPrefix(lines[1], "shale ") ||
		lines[2] != "  ! 1 of its settings differs from the tunnel file: wgkeys plan shale" ||
		!strings.HasPrefix(lines[3], "basalt ") {
		t.Errorf("the one with a problem is not first:\n%s", r.Stdout)
	}
	if r := l.exits(ui.ExitFindings, "wgkeys status -q"); strings.Count(r.Stdout, "\n") != 3 ||
		strings.Contains(r.Stdout, "basalt ") {
		t.Errorf("-q tells of more than the problem:\n%s", r.Stdout)
	}
	l.json("drift", ui.ExitFindings, "")
	l.prometheus("drift", ui.ExitFindings, `wgkeys_drift_steps{host="shale",tunnel="wg0"} 1`,
		`wgkeys_findings{host="shale",tunnel="wg0"} 1`)

	l.Tunnel(demo.FirstTunnel + "[hosts.ghost]\nssh = \"root@192.0.2.10\"\naddresses = [\"2001:db8:7767::3/128\"]\n")
	l.Must(l.Basalt, "wgkeys gen -q ghost && ! ssh -o BatchMode=yes root@192.0.2.10 true")
	l.json("one gives no answer", ui.ExitSome, "cannot reach host")
	l.prometheus("one gives no answer", ui.ExitSome, `wgkeys_answered{host="ghost",tunnel="wg0"} 0`,
		`wgkeys_answered{host="shale",tunnel="wg0"} 1`)
	r = l.exits(ui.ExitSome, "wgkeys status")
	if !strings.Contains(r.Stdout, "\nghost   wg0         -") ||
		!strings.Contains(r.Stderr, `error: cannot reach host "ghost": `) ||
		!strings.HasSuffix(r.Stderr, "hint: once that is fixed: wgkeys status ghost\n") {
		t.Errorf("of the host that gives no answer:\n%s%s", r.Stdout, r.Stderr)
	}
	l.Must(l.Basalt, "wgkeys down --quiet && wgkeys down --quiet shale")
	l.json("down", ui.ExitSome, "cannot reach host")

	// A key that nobody knows, where no tunnel is up in which it could be rotated: the hint helps.
	l.Must(l.Shale, "umask 077 && wg genkey >/etc/wireguard/wg0.key")
	r = l.exits(ui.ExitFindings, "wgkeys status shale")
	if !strings.Contains(r.Stdout, "if nobody has that key: wgkeys push --unknown shale\n") {
		t.Errorf("of a key that nobody knows:\n%s", r.Stdout)
	}
	l.Must(l.Basalt, "wgkeys push --unknown shale && wgkeys apply -q shale && wgkeys status shale && wgkeys down -q shale")
	l.usage()
}

func (l statusLab) exits(code int, command string) labtest.Result {
	l.Helper()
	r := l.Run(l.Basalt, command)
	if r.Code != code {
		l.Errorf("%s: exit %d, want %d\n%s%s", command, r.Code, code, r.Stdout, r.Stderr)
	}
	return r
}

// table: the rate is there from the second look on, and nothing but words: no colour where
// no terminal is.
func (l statusLab) table() {
	l.Helper()
	first := l.exits(ui.ExitDone, "wgkeys status")
	l.Must(l.Basalt, "ping -6 -n -q -c 20 -i 0.05 "+demo.Internet)
	second := l.exits(ui.ExitDone, "wgkeys status")
	for _, text := range []string{first.Stdout, second.Stdout} {
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) != 3 || strings.Join(strings.Fields(lines[0]),
			" ") != "HOST TUNNEL PEERS OLDEST IN OUT RATE KEY DRIFT AGE WGKEYS" || strings.Contains(text, "\x1b") {
			l.Fatalf("the table is\n%s", text)
		}
		for _, line := range lines[1:] {
			words := strings.Fields(line)
			if rate := words[6]; words[2] != "1/1" || words[7] != "agree" || words[8] != "0" ||
				strings.HasSuffix(rate, "/s") != (text == second.Stdout) {
				l.Errorf("a row is %q", line)
			}
		}
	}
	if r := l.exits(ui.ExitDone, "XDG_CACHE_HOME=/proc/nowhere wgkeys status -v"); !strings.Contains(r.Stderr,
		"cannot remember this look") {
		l.Errorf("with no cache: %s", r.Stderr)
	}
	l.exits(ui.ExitDone, "env -u HOME wgkeys status -q")
}

// json is what the schema says, on standard output and in a file.
func (l statusLab) json(when string, code int, reason string) {
	l.Helper()
	l.Must(l.Basalt, "rm -f /root/status.json")
	l.exits(code, "wgkeys status --json --output /root/status.json")
	for _, text := range []string{l.exits(code, "wgkeys status --json").Stdout, l.Read(l.Basalt, "/root/status.json")} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err == nil {
			err = statusSchema(l.T).Validate(value)
		}
		if err != nil || strings.Contains(text, `"error": "`+reason) != (reason != "") {
			l.Errorf("%s: %v\n%s", when, err, text)
		}
	}
}

// statusSchema is the one that is documented.
func statusSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	file, err := os.Open("doc/schema/status.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	document, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("status.schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("status.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestStatusSchema: the schema refuses what status would never write.
func TestStatusSchema(t *testing.T) {
	t.Parallel()
	const host = `[{"host":"a","tunnel":"wg0","key":"ywr3Tkq8/gMf5mwIa2B4g6W7BFM7hMZHPMdcF8/w4Bw=","due":false,"drift":0,"peers":[],"peers_up":0}]`
	for text, ok := range map[string]bool{
		host: true,
		strings.Replace(host, `"drift":0`, `"drift":null`, 1): true,
		strings.Replace(host, `"drift":0`, `"drift":-1`, 1):   false,
		strings.Replace(host, `"drift":0,`, "", 1):            false,
		strings.Replace(host, `Bw=`, `Bw`, 1):                 false,
		strings.Replace(host, `[]`, `[{"name":"b"}]`, 1):      false,
		strings.Replace(host, `"due"`, `"Err":null,"due"`, 1): false,
		`{}`: false,
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := statusSchema(t).Validate(value); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// prometheus is what Prometheus' own parser reads, on standard output and in a file that is
// whole at every moment.
func (l statusLab) prometheus(when string, code int, lines ...string) {
	l.Helper()
	l.Must(l.Basalt, "mkdir -p /root/collector && echo old >/root/collector/wgkeys.prom && ln -f /root/collector/wgkeys.prom /root/old.prom")
	l.exits(code, "wgkeys status --prometheus -o /root/collector/wgkeys.prom")
	if l.Read(l.Basalt, "/root/old.prom") != "old\n" {
		l.Errorf("%s: the old file was written to", when)
	}
	if got := l.Must(l.Basalt,
		"stat -c '%a %n' /root/collector/*; ls -A /root/collector"); got != "644 /root/collector/wgkeys.prom\nwgkeys.prom\n" {
		l.Errorf("%s: the folder has\n%s", when, got)
	}
	r := l.exits(code, "wgkeys status --prometheus")
	if strings.Contains(r.Stderr, "once that is fixed") {
		l.Errorf("%s: the hint would write a file of some hosts: %s", when, r.Stderr)
	}
	for _, text := range []string{r.Stdout, l.Read(l.Basalt, "/root/collector/wgkeys.prom")} {
		p := expfmt.NewTextParser(model.LegacyValidation)
		families, err := p.TextToMetricFamilies(strings.NewReader(text))
		if err != nil || len(families) < 10 {
			l.Errorf("%s: %v\n%s", when, err, text)
		}
		for _, line := range lines {
			if !strings.Contains(text, line+"\n") {
				l.Errorf("%s: no %s in\n%s", when, line, text)
			}
		}
	}
}

// usage: what means nothing is refused.
func (l statusLab) usage() {
	l.Helper()
	for _, flags := range []string{"--json --prometheus", "-o /root/x", "--watch 5s", "--every 1ms", "-j 0"} {
		l.exits(ui.ExitUsage, "wgkeys status "+flags)
	}
	if r := l.exits(ui.ExitFailed, "wgkeys status --prometheus -o /nowhere/x.prom"); !strings.Contains(r.Stderr,
		`cannot write the result to "/nowhere/x.prom": no such file or directory`) {
		l.Errorf("%s", r.Stderr)
	}
}

// terminalOn has a terminal on a host. A Ctrl-C is not for nsenter, which waits for the rest.
func terminalOn(t *testing.T, h *lab.Host, script string) *terminal {
	t.Helper()
	return onTerminal(t, "sh", "-c",
		`trap "" INT; exec nsenter -t "$0" -a sh -c "cd /root/net; export HOME=/root TERM=xterm; $1"`,
		fmt.Sprint(h.PID()), script)
}

// TestLabStatusTerminal: colours where a person sees them and wants them; a watch that draws
// in one place, and ends at Ctrl-C.
func TestLabStatusTerminal(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, "wgkeys apply --quiet shale && wgkeys apply --quiet && ping -6 -n -c 1 -w 10 "+demo.Internet)
	u.Must(u.Shale, "ip link set wg0 mtu 1300")
	for script, coloured := range map[string]bool{"": true, "NO_COLOR= ": true, "NO_COLOR=1 ": false,
		"TERM=dumb ": false} {
		x := terminalOn(t, u.Basalt, script+"wgkeys status")
		if code := x.wait(); code != ui.ExitFindings || strings.Contains(x.shown(), "\x1b[31mshale\x1b[m") != coloured ||
			strings.Contains(x.shown(), "\x1b") != coloured {
			t.Errorf("%q: exit %d\n%q", script, code, x.shown())
		}
	}

	const scrolled = "wgkeys: 1 of 2 have problems, at the top; -q shows them alone: shale\r\n"
	for rows, says := range map[string]bool{"3": true, "24": false} {
		x := terminalOn(t, u.Basalt, "stty rows "+rows+" cols 80; wgkeys status")
		if x.wait(); strings.Contains(x.shown(), scrolled) != says {
			t.Errorf("in %s rows:\n%s", rows, x.shown())
		}
	}

	x := terminalOn(t, u.Basalt, "exec wgkeys status --watch --every 1s")
	x.shows("\x1b[31mshale\x1b[m")
	u.Must(u.Shale, "ip link set wg0 mtu 1420")
	x.until("that all is well", func() bool {
		last := x.shown()
		last = last[max(0, strings.LastIndex(last, "every 1s")):]
		return strings.HasSuffix(last, "\x1b[J") && strings.Contains(last, "shale") && !strings.Contains(last, "\x1b[31m")
	})
	x.types("\x03")
	if code := x.wait(); code != ui.ExitDone || strings.Contains(x.shown(), "\x1b[2J") ||
		!strings.Contains(x.shown(), "\r\x1b[5A") {
		t.Errorf("the watch exits %d\n%q", code, x.shown())
	}
	watchInPipe(u)
	// A service writes the file again and again, and ends well.
	u.Must(u.Basalt, `wgkeys status --watch --every 1s --prometheus -o /root/w.prom & until [ -s /root/w.prom ]; do sleep 0.1; done
		rm /root/w.prom; until [ -s /root/w.prom ]; do sleep 0.1; done; kill -INT $!; wait $!`)
	u.Must(u.Basalt, "wgkeys down --quiet && wgkeys down --quiet shale")
}

// watchInPipe: without a terminal looks follow each other, as blocks or as lines of JSON.
func watchInPipe(u *labtest.Users) {
	u.Helper()
	for _, form := range []string{"", " --json"} {
		c := u.Basalt.Command(u.Context(), "sh", "-c", "cd /root/net; exec wgkeys status --watch --every 1s"+form)
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			u.Fatal(err)
		}
		var text bytes.Buffer
		looks := func() int { return strings.Count(text.String(), "\n\n") }
		if form != "" {
			looks = func() int { return strings.Count(text.String(), "\n") }
		}
		for b := make([]byte, 4096); looks() < 2; {
			n, err := out.Read(b)
			if text.Write(b[:n]); err != nil {
				u.Fatalf("%v\n%s", err, text.String())
			}
		}
		c.Process.Signal(syscall.SIGINT)
		rest, _ := io.ReadAll(out)
		text.Write(rest)
		if err := c.Wait(); err != nil || strings.Contains(text.String(), "\x1b") {
			u.Errorf("the watch%s ends with %v\n%s", form, err, text.String())
		}
		first, _, _ := strings.Cut(text.String(), "\n")
		var value any
		if err := json.Unmarshal([]byte(first), &value); (err == nil) != (form != "") {
			u.Errorf("the first line of %q is %q", form, first)
		} else if err == nil {
			if err := statusSchema(u.T).Validate(value); err != nil {
				u.Errorf("%v\n%s", err, first)
			}
		}
	}
}
