package push_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"wgkeys/deploy/lab/labtest"
	"wgkeys/deploy/push"
)

// TestDenied: the far end does not replace what it denies, whatever the controller asks,
// and with or without a look before. The answers are those of both speakers.
func TestDenied(t *testing.T) {
	asRoot(t)
	dir := filepath.Join(t.TempDir(), "wireguard")
	must(t, os.Mkdir(dir, 0o755))
	aside := filepath.Dir(dir)
	k := newKey(t, dir+"/wg0.key")
	write(t, aside+"/precious.key", "something precious\n", 0o644)
	write(t, aside+"/empty", "", 0o644)
	write(t, aside+"/hostname", "shale\n", 0o644)
	write(t, aside+"/cut", "c2hhbGU", 0o644)
	must(t, os.Symlink(aside+"/precious.key", dir+"/link.key"))
	must(t, exec.Command("mknod", aside+"/null.key", "c", "1", "3").Run())
	for _, path := range []string{aside + "/precious.key", aside + "/empty", aside + "/hostname", aside + "/cut",
		dir + "/link.key",
		aside + "/null.key", aside + "/new", dir + "/wg0.conf", aside, aside + "/etc/ld.so.preload"} {
		before := state(t, path)
		put := "put key " + k.Want + " " + strings.TrimSpace(string(k.text)) + " " + path + "\n"
		for _, ask := range []string{put, "look key " + path + "\n" + put, "mode key " + path + "\n"} {
			for name, answers := range answersTo(t, ask) {
				if last := answers[len(answers)-1]; !strings.HasPrefix(last, "fail ") {
					t.Errorf("%s: %.20s… of %s says %q", name, ask, path, last)
				}
				if after := state(t, path); after != before {
					t.Errorf("%s: %s was %s and is %s", name, path, before, after)
				}
			}
		}
	}
	for name, answers := range answersTo(t, "put key "+k.Want+" "+strings.TrimSpace(string(k.text))+" "+k.Path+"\n") {
		if answers[len(answers)-1] != "done "+k.Want {
			t.Errorf("%s: a key for nothing: %q", name, answers)
		}
	}
}

// TestFoldersOfOthers: who can change a folder above could have root write anywhere.
func TestFoldersOfOthers(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/theirs", 0o755))
	must(t, os.Chown(dir+"/theirs", 1, 1))
	must(t, os.Mkdir(dir+"/etc", 0o755))
	must(t, os.Symlink(dir+"/etc", dir+"/theirs/wireguard"))
	k := newKey(t, "")
	for path, why := range map[string]string{
		dir + "/theirs/wg0.key":                   "others than root can change the folder",
		dir + "/theirs/wireguard/ld.so.preload":   "is not named as a key file",
		dir + "/theirs/wireguard/ld-so-preload":   "is not named as a key file",
		dir + "/theirs/wireguard/../../etc/x.key": "",
	} {
		var out bytes.Buffer
		ask := "put key " + k.Want + " " + strings.TrimSpace(string(k.text)) + " " + path + "\n"
		push.Receive(strings.NewReader(ask), &out, nil)
		if why != "" && !strings.Contains(out.String(), "fail "+why) {
			t.Errorf("%s: %q, want %q", path, out.String(), why)
		}
	}
	if left, err := os.ReadDir(dir + "/etc"); err != nil || len(left) > 0 {
		t.Errorf("made: %v, %v", left, err)
	}
}

func asRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		labtest.Missing(t, "only root makes devices and gives folders away")
	}
}

// state is what is at path, without following it.
func state(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command(
		"sh", "-c", `stat -c "%F %a %u %N" -- "$1" 2>/dev/null && { [ ! -f "$1" ] || cat -- "$1"; } || echo nothing`, "sh",
		path).Output()
	must(t, err)
	return string(out)
}

// answersTo returns the answers of both host ends.
func answersTo(t *testing.T, ask string) map[string][]string {
	t.Helper()
	var out bytes.Buffer
	push.Receive(strings.NewReader(ask), &out, nil)
	plain := exec.Command("sh", "-c", push.PlainScript())
	plain.Stdin = strings.NewReader(ask)
	said, err := plain.Output()
	must(t, err)
	return map[string][]string{
		"receive": strings.Split(strings.TrimSpace(out.String()), "\n"),
		"plain":   strings.Split(strings.TrimSpace(string(said)), "\n"),
	}
}
