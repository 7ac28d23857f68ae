package main

import (
	"image/color"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	laboratory "wgkeys/deploy/lab/labtest"
)

const phoneTunnel = `psk = true
[hosts.shale]
endpoint = "93.93.130.7:30567"
addresses = ["10.77.0.1"]
routes = ["0.0.0.0/0", "::/0"]
[hosts.phone]
managed = false
addresses = ["10.77.0.3", "2001:db8:7767::3"]
dns = ["10.77.0.1", "~."]
`

// TestQRDecoded: what an independent reader finds in the picture, and on the terminal, is
// to the byte what is exported for wg-quick. A terminal that is too small gets no key.
func TestQRDecoded(t *testing.T) {
	laboratory.Programs(t, "zbarimg")
	t.Setenv("HOME", t.TempDir())
	net, png := filepath.Join(t.TempDir(), "net"), filepath.Join(t.TempDir(), "phone.png")
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("wgkeys", args...).Output()
		if err != nil {
			t.Fatalf("wgkeys %s: %v", strings.Join(args, " "), err)
		}
		return string(out)
	}
	run("init", "-q", "--classic", net)
	if err := os.WriteFile(filepath.Join(net, "tunnels", "wg0.toml"), []byte(phoneTunnel), 0o644); err != nil {
		t.Fatal(err)
	}
	run("gen", "-q", "-C", net, "shale", "phone")
	want := run("export", "-C", net, "--secret", "phone")
	if !strings.Contains(want, "DNS = 10.77.0.1\n") {
		t.Error("not what the apps read of resolvers")
	}

	run("qr", "-C", net, "phone", "-o", png)
	picture, err := os.ReadFile(png)
	if err != nil {
		t.Fatal(err)
	}
	pipe := run("qr", "-C", net, "phone", "-o", "-")
	for _, p := range []string{string(picture), pipe} {
		if labtest.ReadQR(t, []byte(p)) != want {
			t.Error("the picture has another text")
		}
	}

	x := onTerminal(t, "sh", "-c", `stty rows 70 cols 120; exec wgkeys qr -C "$0" phone`, net)
	if code := x.wait(); code != 0 {
		t.Fatalf("exit code %d: %s", code, x.shown())
	}
	for _, background := range []color.Gray{{0}, {255}} {
		if labtest.ReadQR(t, labtest.ScreenShot(t, x.shown(), background).PNG) != want {
			t.Errorf("the terminal shows another text on %v", background)
		}
	}

	need := regexp.MustCompile(`it takes (\d+) columns and (\d+) lines, and there are 80 and 24`)
	x = onTerminal(t, "sh", "-c", `stty rows 24 cols 80; exec wgkeys qr -C "$0" phone`, net)
	code, said := x.wait(), x.said()
	m := need.FindStringSubmatch(said)
	if code != 1 || m == nil || strings.Contains(said, "▄") || !strings.Contains(said, "-o FILE.png") {
		t.Fatalf("exit code %d: %s", code, said)
	} else {
		x = onTerminal(t, "sh", "-c", `stty rows "$1" cols "$2"; exec wgkeys qr -C "$0" phone`, net, m[2], m[1])
		if code := x.wait(); code != 0 {
			t.Errorf("it takes more than it says: %s", x.shown())
		}
	}
}
