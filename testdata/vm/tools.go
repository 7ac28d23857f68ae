package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"wgkeys/keyring/lazyregexp"
)

// needed are the programs without which the laboratory cannot work, optional
// those that some tests use: a test that needs one says so by itself.
var (
	needed = strings.Fields(`sh bash ip setpriv mount umount ping sysctl wg
		ssh sshd ssh-keygen cat mkdir rm ls chmod hostname sleep env`)
	optional = strings.Fields(`nft tc ss bridge tcpdump strace unshare setsid wg-quick age age-keygen
		git git-upload-pack git-receive-pack ssh-add ssh-agent ssh-keyscan scp
		mv cp chown stat sort uniq head tail tr grep sed awk mawk test echo printf id date touch ln readlink
		realpath install sync timeout wc cut uname seq dd tee true false basename dirname mktemp
		sha256sum md5sum base64 od cmp diff find xargs ps pgrep pkill kill mountpoint findmnt lsns flock
		su useradd chpasswd getent nproc df du comm tac expr which chroot pivot_root`)
	// helpers are programs that others start by their full path.
	helpers = []string{"/usr/lib/openssh/sshd-session", "/usr/lib/openssh/sshd-auth", "/usr/lib/openssh/sftp-server"}
)

// searchPath is where the programs are; a user's PATH may lack the sbins.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// findTools returns the files of all programs and of the libraries they need.
func findTools() ([]string, error) {
	if err := os.Setenv("PATH", searchPath); err != nil {
		return nil, err
	}
	var programs []string
	for _, name := range needed {
		path, err := exec.LookPath(name)
		if err != nil {
			return nil, fmt.Errorf("%s is not installed: run `sudo make test`", name)
		}
		programs = append(programs, path)
	}
	for _, name := range optional {
		if path, err := exec.LookPath(name); err == nil {
			programs = append(programs, path)
		}
	}
	for _, path := range helpers {
		if _, err := os.Stat(path); err == nil {
			programs = append(programs, path)
		}
	}
	libraries, err := librariesOf(programs)
	return append(programs, libraries...), err
}

// library is how ldd(1) names one: "libc.so.6 => /lib/…/libc.so.6 (0x…)", or
// the loader without an arrow.
var library = lazyregexp.New(`(?m)^\s(?:\S+ => )?(/\S+) \(0x`)

// librariesOf returns the files of the libraries that programs need, as ldd(1)
// finds them with env added to its environment.
func librariesOf(programs []string, env ...string) ([]string, error) {
	// It exits 1 where one is a script or static, and says so among the rest.
	ldd := exec.Command("ldd", programs...)
	ldd.Env = append(os.Environ(), env...)
	out, err := ldd.Output()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		return nil, err
	}
	var list []string
	seen := make(map[string]bool)
	for _, m := range library().FindAllStringSubmatch(string(out), -1) {
		if path := filepath.Clean(m[1]); !seen[path] {
			seen[path] = true
			list = append(list, path)
		}
	}
	return list, nil
}
