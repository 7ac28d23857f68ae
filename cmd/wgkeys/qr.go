package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/qr"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/wgquick"
	"wgkeys/keyring/fault"
)

func qrCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "qr",
		UsageText: "wgkeys qr phone\n" +
			"wgkeys qr phone -o /tmp/phone.png",
		Usage:     "show a telephone's tunnel as a QR code, including its key",
		ArgsUsage: "HOST",
		Description: "The code is the configuration that wgkeys export --secret HOST writes for wg-quick, as\n" +
			"the WireGuard apps read it. It goes to a terminal that is large enough, or to a pipe;\n" +
			"with -o FILE it is a PNG of mode 0600, with -o - a PNG to a pipe. Whoever sees it has the key.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the PNG `FILE`, or - for a pipe",
				DefaultText: "the terminal"},
			tunnelFlag, identityFlag,
		},
	}, doQR
}

func doQR(e *env) error {
	if _, err := e.oneName(func() (string, error) {
		return "", ui.Usage("no host named for", "wgkeys qr", "it shows the tunnel of one host", "wgkeys qr HOST")
	}); err != nil {
		return err
	}
	v, t, err := viewOf(e)
	if err != nil {
		return err
	}
	out := e.cli.String("output")
	if err := takesCode(e, t.Commands.Run("qr", v.Host), out); err != nil {
		return err
	}
	x := &exporter{env: e, write: wgquick.Format, secret: true}
	list, err := x.files(v)
	if err != nil {
		return err
	}
	defer foreign.Wipe(list)
	text := list[0].Text
	if err := readByApps(v.Host, text); err != nil {
		return err
	}
	code := qr.Encode(text)
	if code == nil {
		return fault.NewHost("no QR code is large enough for host", v.Host,
			fmt.Sprintf("its configuration has %d bytes, and %d fit", len(text), qr.Most),
			"wgkeys export --secret -o FILE "+v.Host)
	}
	if err := showCode(e, t, v.Host, out, code); err != nil {
		return err
	}
	warnOfCode(e, v)
	return nil
}

// takesCode refuses a command to put a key where it would stay: in a file that others read, or in
// the repository, from where git would take it.
func takesCode(e *env, command, out string) error {
	switch out {
	case "":
		return e.ui.TakesSecret(command + " -o FILE.png")
	case "-":
		if _, terminal := e.ui.TerminalSize(); terminal {
			return ui.Usage("no picture is written to", "a terminal", "it cannot show one",
				command+", or a pipe after -o -")
		}
		return e.ui.TakesSecret(command + " -o FILE.png")
	}
	return outside(e, out)
}

// outside refuses a file with a key, or a folder of such files, in the repository.
func outside(e *env, out string) error {
	r, err := e.repo()
	if err != nil {
		return err
	}
	return repo.RequireOutside(r, out)
}

// readByApps refuses what the app on a telephone cannot do.
func readByApps(host string, text []byte) error {
	others := wgquick.UnknownToApps(text)
	if others == nil {
		return nil
	}
	return fault.NewHost("no app reads the configuration of host", host, "it takes "+strings.Join(others, ", ")+
		" to do what the tunnel file says, and the apps have no such key",
		"take forward, masquerade, ndp_proxy, sysctls, fwmark, gateway, table and metric out of [hosts."+host+"], "+
			"or wgkeys export --secret "+host+" for another program")
}

func showCode(e *env, t *tunnel.Tunnel, host, out string, code *qr.Code) error {
	if out == "" {
		size, terminal := e.ui.TerminalSize()
		need := ui.Size{Columns: code.Columns, Lines: code.Lines + 1} // and the prompt
		if terminal && (size.Columns < need.Columns || size.Lines < need.Lines) {
			return fault.NewHost("the terminal is too small for the code of host", host,
				fmt.Sprintf("it takes %d columns and %d lines, and there are %d and %d",
					need.Columns, need.Lines, size.Columns, size.Lines),
				"a larger window or a smaller font, or "+t.Commands.Run("qr", host)+" -o FILE.png")
		}
		e.ui.Secret(code.Blocks())
		return nil
	}
	var picture bytes.Buffer
	if err := code.PNG(&picture); err != nil {
		return err
	}
	defer clear(picture.Bytes())
	if out == "-" {
		e.ui.Secret(picture.Bytes())
		return nil
	}
	return writeOut(out, foreign.File{Text: picture.Bytes(), Mode: "0600"})
}

// warnOfCode warns of problems that the code cannot solve.
func warnOfCode(e *env, v *tunnel.View) {
	if !v.Unmanaged {
		e.ui.Warn(fault.NewHost("the code has the key of a managed host", v.Host,
			"two devices with one key take each other's packets", "a host of its own with managed = false, for a telephone"))
	}
	warnNowhere(e, v)
}

// warnNowhere warns that what was written for a host does not contain its peers' endpoints.
func warnNowhere(e *env, v *tunnel.View) {
	for _, p := range v.Peers {
		if p.Endpoint != "" {
			return
		}
	}
	at := "[hosts." + v.Host + ".peer.PEER]"
	if len(v.Peers) == 1 {
		at = "[hosts." + v.Peers[0].Name + "], which is its one peer"
	}
	e.ui.Warn(fault.NewHost("there is no endpoint in what was written for host", v.Host,
		"the tunnel file does not say where its peers are", "endpoint = under "+at+"; or the endpoint by hand in the app"))
}
