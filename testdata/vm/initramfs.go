package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A job is what the machine is to run.
type job struct {
	Binary string   // the test binary, by the path it has here and there
	Args   []string // its arguments
	Dir    string   // its working folder
	Env    []string
}

const (
	jobFile     = "/job.json"
	modulesFile = "/modules.txt"
)

// environment is what the tests see of the environment here.
func environment() []string {
	env := []string{"PATH=" + searchPath, "HOME=/root", "USER=root", "LANG=C.UTF-8", "TMPDIR=/tmp"}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "CI=") || strings.HasPrefix(kv, "WGKEYS_") {
			env = append(env, kv)
		}
	}
	return env
}

// files is what the machine's /etc holds to begin with.
var files = map[string]string{
	"/etc/passwd":        "root:x:0:0:root:/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
	"/etc/group":         "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
	"/etc/shadow":        "root:*:19000:0:99999:7:::\n",
	"/etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n",
	"/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
	"/etc/login.defs":    "ENCRYPT_METHOD SHA512\n",
	"/etc/protocols":     "icmp 1\ntcp 6\nudp 17\nipv6-icmp 58\n",
}

// folders are the machine's empty ones, with their modes.
var folders = map[string]uint32{
	"/proc": 0o555, "/sys": 0o555, "/dev": 0o755, "/run": 0o755, "/tmp": 0o1777, "/root": 0o700,
	"/home": 0o755, "/var/tmp": 0o1777, "/var/log": 0o755, "/var/lib": 0o755, "/usr/local/bin": 0o755,
}

// baseArchive returns the part of the initramfs that no test changes. It is
// made once and kept until one of its files changes.
func baseArchive(lab string, k kernel) ([]byte, error) {
	tools, err := findTools()
	if err != nil {
		return nil, err
	}
	modules, err := findModules(k.modules)
	if err != nil {
		return nil, err
	}
	manager := findNetworkd(lab)
	managers, err := manager.files()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	key, err := fingerprint(slices.Concat([]string{self}, tools, modules, managers))
	if err != nil {
		return nil, err
	}
	cache := filepath.Join(lab, "base-"+k.version+".cpio-"+key)
	if b, err := os.ReadFile(cache); err == nil {
		return b, nil
	}
	var copies []copied
	for _, path := range tools {
		copies = append(copies, copied{path, path})
	}
	for _, path := range managers {
		copies = append(copies, copied{path, manager.inside(path)})
	}
	b, err := makeBase(self, copies, modules)
	if err != nil {
		return nil, err
	}
	return b, replace(lab, cache, b)
}

// replace writes the cache in one step, for several machines may start at
// once, and removes what it supersedes of the same kernel.
func replace(lab, cache string, content []byte) error {
	old, err := filepath.Glob(strings.TrimSuffix(cache, filepath.Ext(cache)) + ".cpio-*")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(lab, "new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), cache); err != nil {
		return err
	}
	for _, path := range old {
		if path != cache {
			os.Remove(path)
		}
	}
	return nil
}

// fingerprint changes when one of the files does.
func fingerprint(paths []string) (string, error) {
	h := sha256.New()
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, path, st.Size(), st.ModTime().UnixNano())
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

// A copied file has a path here and a name in the machine.
type copied struct{ path, name string }

func makeBase(self string, copies []copied, modules []string) ([]byte, error) {
	var a archive
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		a.dir("/usr/"+dir, 0o755)
		a.link("/"+dir, "usr/"+dir)
	}
	for dir, perm := range folders {
		a.dir(dir, perm)
	}
	a.link("/var/run", "/run")
	for name, content := range files {
		a.file(name, 0o644, []byte(content))
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return nil, err
	}
	a.file("/init", 0o755, program)
	for _, c := range copies {
		if err := a.copyAs(c.path, c.name); err != nil {
			return nil, err
		}
	}
	var order strings.Builder
	for _, path := range modules {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		name := "/modules/" + filepath.Base(path)
		a.file(name, 0o644, content)
		fmt.Fprintln(&order, name)
	}
	a.file(modulesFile, 0o644, []byte(order.String()))
	return a.bytes(), nil
}

// testArchive returns the part that is this test's: the binary and the files
// of the module, all where they are here.
func testArchive(root string, j job) ([]byte, error) {
	var a archive
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	a.file(jobFile, 0o644, text)
	if err := a.copy(j.Binary); err != nil {
		return nil, err
	}
	libraries, err := librariesOf([]string{j.Binary})
	if err != nil {
		return nil, err
	}
	for _, path := range libraries {
		if err := a.copy(path); err != nil {
			return nil, err
		}
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir():
			a.dir(path, 0o755)
		case d.Type().IsRegular() && isSmall(d):
			return a.copy(path)
		}
		return nil
	})
	return a.bytes(), err
}

// isSmall leaves out what is built, not written.
func isSmall(d fs.DirEntry) bool {
	st, err := d.Info()
	return err == nil && st.Size() < 1<<20
}
