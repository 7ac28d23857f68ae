package push_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"wgkeys/deploy/push"
	"wgkeys/deploy/ssh/sshtest"
	"wgkeys/keyring/fault"
)

// TestPush is the life of two key files: installed, left alone, replaced.
func TestPush(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		dir := filepath.Join(t.TempDir(), "etc", "wireguard")
		key, psk := newKey(t, dir+"/wg0.key"), newPSK(t, dir+"/wg0.basalt.psk")

		results, err := h.pushAs(t, push.DryRun, key.forbidden(), psk.forbidden())
		must(t, err)
		if got := actions(results); got != "installed installed" {
			t.Errorf("dry run: %s", got)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a dry run made the directory: %v", err)
		}

		results, err = h.push(t, key.File, psk.File)
		must(t, err)
		if got := actions(results); got != "installed installed" {
			t.Errorf("first push: %s", got)
		}
		key.inPlace(t)
		psk.inPlace(t)
		for _, d := range []string{dir, filepath.Dir(dir)} {
			if fi, err := os.Stat(d); err != nil || fi.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v %v", d, fi.Mode(), err)
			}
		}

		results, err = h.push(t, key.forbidden(), psk.forbidden())
		must(t, err)
		if got := actions(results); got != "unchanged unchanged" {
			t.Errorf("second push: %s", got)
		}

		next := newKey(t, key.Path)
		results, err = h.push(t, next.File, psk.forbidden())
		must(t, err)
		if got := actions(results); got != "replaced unchanged" || results[0].Was != key.Want {
			t.Errorf("new key: %+v", results)
		}
		next.inPlace(t)
		if *next.called != 1 {
			t.Errorf("decrypted %d times", *next.called)
		}
	})
}

// TestRepair: a file with the right key and the wrong owner or mode needs no
// secret.
func TestRepair(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		dir := t.TempDir()
		for _, tt := range []struct {
			mode     os.FileMode
			uid, gid int
			was      string
		}{
			{0o644, 0, 0, "-rw-r--r-- 0 0"},
			{0o600, 1, 0, "-rw------- 1 0"},
			{0o640, 0, 0, "-rw-r----- 0 0"},
			{0o640, 1, 1, "-rw-r----- 1 1"},
			{0o644, 0, 1, "-rw-r--r-- 0 1"},
			{0o660, 0, 1, "-rw-rw---- 0 1"},
			{0o600, 0, 1, "-rw------- 0 1"},
			{0o400, 0, 0, "-r-------- 0 0"},
			{0o600 | os.ModeSetuid, 0, 0, "-rwS------ 0 0"},
		} {
			key := newKey(t, dir+"/wg0.key")
			write(t, key.Path, string(key.text), 0o600)
			must(t, os.Chown(key.Path, tt.uid, tt.gid))
			must(t, os.Chmod(key.Path, tt.mode))
			results, err := h.push(t, key.forbidden())
			must(t, err)
			if got := actions(results); got != "repaired" || results[0].Was != tt.was {
				t.Errorf("%s: %+v", tt.was, results)
			}
			key.inPlace(t)
			if owner := stat(t, key.Path); owner.Uid != 0 || owner.Gid != 0 {
				t.Errorf("%s: owner %d %d", tt.was, owner.Uid, owner.Gid)
			}
			must(t, os.Remove(key.Path))
		}
	})
}

// TestReaders: a group that somebody chose to let read a key may read it, and the
// next one.
func TestReaders(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		for _, mode := range []os.FileMode{0o640, 0o440} {
			key := newKey(t, t.TempDir()+"/wg0.key")
			for _, held := range []secret{key, newKey(t, key.Path)} {
				write(t, key.Path, string(held.text), 0o600)
				must(t, os.Chown(key.Path, 0, 1))
				must(t, os.Chmod(key.Path, mode))
				results, err := h.push(t, key.File)
				must(t, err)
				want := "replaced"
				if string(held.text) == string(key.text) {
					want = "unchanged"
				}
				if got := actions(results); got != want {
					t.Errorf("%v: %s, want %s", mode, got, want)
				}
				fi, err := os.Stat(key.Path)
				must(t, err)
				if owner := stat(t, key.Path); fi.Mode() != mode || owner.Uid != 0 || owner.Gid != 1 {
					t.Errorf("%v, %s: it is %v of %d %d", mode, want, fi.Mode(), owner.Uid, owner.Gid)
				}
			}
		}
	})
}

func stat(t testing.TB, path string) *syscall.Stat_t {
	fi, err := os.Stat(path)
	must(t, err)
	return fi.Sys().(*syscall.Stat_t)
}

// TestDamaged: nothing, or what is left of a key, is replaced.
func TestDamaged(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		dir := t.TempDir()
		var all []secret
		var files []push.File
		for name, text := range map[string]string{
			"empty": "", "newline": "\n", "truncated": "yAnz5TF+lXXJte14tji3zlMN", "white space": " \r\n\t",
			"one too short": strings.Repeat("A", 42) + "=", "of zeros": strings.Repeat("A", 44),
		} {
			for _, s := range []secret{newKey(t, dir+"/"+name+".key"), newPSK(t, dir+"/"+name+".basalt.psk")} {
				write(t, s.Path, text, 0o600)
				all, files = append(all, s), append(files, s.File)
			}
		}
		results, err := h.push(t, files...)
		must(t, err)
		if len(results) != len(all) {
			t.Fatalf("%d results of %d: %+v", len(results), len(all), results)
		}
		for i, s := range all {
			if results[i].Action != push.Replaced || results[i].Was != push.NoKey {
				t.Errorf("%s: %+v", s.Path, results[i])
			}
			s.inPlace(t)
		}
	})
}

// TestNoKey: a file that is somebody's is neither replaced nor given away, and
// the other file goes on.
func TestNoKey(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		dir := t.TempDir()
		texts := map[string]string{} // by path
		good := newKey(t, dir+"/good.key")
		files := []push.File{good.File}
		for name, text := range map[string]string{
			"shadow": "root:*:19000:0:99999:7:::\n", "binary": "\x00\x01\xff garbage\n", "zeros": strings.Repeat("\x00", 45),
			"two lines": strings.Repeat("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n", 2),
			"umlaut":    "schlüssel\n", "too long": strings.Repeat("A", 45), "hostname": "shale\n",
			"a name twice": "shale shale",
			"machine-id":   strings.Repeat("0af1", 8) + "\n", "padding first": "=AAAA", "large": strings.Repeat("A", 1<<20),
			"text": "no login today!\n",
		} {
			for _, bad := range []secret{newKey(t, dir+"/"+name+".key"), newPSK(t, dir+"/"+name+".psk")} {
				write(t, bad.Path, text, 0o640)
				texts[bad.Path], files = text, append(files, bad.forbidden())
			}
		}
		results, err := h.push(t, files...)
		if got := actions(results); got != "installed" {
			t.Errorf("the other file: %s", got)
		}
		good.inPlace(t)
		hints := fault.Hints(err)
		if len(hints) != len(texts) {
			t.Errorf("%d hints of %d files: %q", len(hints), len(texts), hints)
		}
		for path, text := range texts {
			fails(t, err, `cannot install `+path+` on host "shale": holds something that is no key`)
			says := func(hint string) bool {
				return strings.Contains(hint, "rm "+path) || strings.Contains(hint, "rm '"+path)
			}
			if !slices.ContainsFunc(hints, says) {
				t.Errorf("%s: hints %q", path, hints)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != text {
				t.Errorf("%s was changed: %v", path, err)
			}
			if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o640 {
				t.Errorf("%s has another mode: %v", path, err)
			}
		}
	})
}

// TestInTheWay: what may not be replaced is named, and the other file goes on.
func TestInTheWay(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		for name, tt := range map[string]struct {
			make func(path string) error
			why  string
		}{
			"directory": {func(p string) error { return os.Mkdir(p, 0o755) }, `: is a directory`},
			"link":      {func(p string) error { return os.Symlink("/etc/passwd", p) }, `: is a symbolic link`},
			"dangling":  {func(p string) error { return os.Symlink("nowhere", p) }, `: is a symbolic link`},
			"fifo":      {func(p string) error { return syscall.Mkfifo(p, 0o600) }, `: is no regular file`},
		} {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				bad, good := newKey(t, dir+"/bad.key"), newKey(t, dir+"/good.key")
				must(t, tt.make(bad.Path))
				results, err := h.push(t, bad.forbidden(), good.File)
				fails(t, err, `cannot install `+bad.Path+` on host "shale"`+tt.why)
				if got := actions(results); got != "installed" {
					t.Errorf("the other file: %s", got)
				}
				good.inPlace(t)
			})
		}
	})
}

func TestTrickyNames(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		var files, again []push.File
		var all []secret
		dir := filepath.Join(t.TempDir(), "wireguard")
		for _, name := range []string{
			"a b", "two  spaces", " lead/wireguard/ x", "it's", `"quoted"`, `back\slash\n`, "-rf", "--", "$(touch pwned)",
			"`id`",
			"*", "?", "[a]", "!history", "schlüssel-鍵", "a;b&c|d>e", "~root", "#x", "k=v", "%s%n", "put key x y", "$tmp",
			"x.key",
		} {
			s := newKey(t, filepath.Join(dir, name))
			if len(all)%2 == 1 {
				s = newPSK(t, s.Path)
			}
			all, files, again = append(all, s), append(files, s.File), append(again, s.forbidden())
		}
		_, err := h.push(t, files...)
		must(t, err)
		for _, s := range all {
			b, err := os.ReadFile(s.Path)
			must(t, err)
			if string(b) != string(s.text) {
				t.Errorf("%q holds another key", s.Path)
			}
		}
		_, err = h.push(t, again...)
		must(t, err)
		entries, err := os.ReadDir(dir)
		must(t, err)
		if len(entries) != len(all) {
			t.Errorf("%d files, want %d", len(entries), len(all))
		}
	})
}

func TestRefusedPaths(t *testing.T) {
	for _, p := range []string{"", "wg0.key", "-oX", "/etc/a\nb", "/etc/a\tb", "/etc/a\x00", "/etc/../x", "/etc/", "/",
		"/etc/a ", "/a\xff", "/" + strings.Repeat("x", 5000)} {
		_, err := push.Host(t.Context(), nil, "shale", []push.File{newKey(t, p).forbidden()})
		fails(t, err, `cannot push to host "shale" the file`)
	}
	k := newKey(t, "/a")
	_, err := push.Host(t.Context(), nil, "shale", []push.File{k.File, k.File})
	fails(t, err, "twice")
	_, err = push.Host(t.Context(), nil, "shale", []push.File{{Path: "/a", Want: "x"}})
	fails(t, err, "public key is not known")
}

// TestOvertaken: between the question and the answer, for which somebody may have to touch a
// hardware key, or where a process stood still, another push installs a newer key. That stays.
func TestOvertaken(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		dir := filepath.Join(t.TempDir(), "a b|c")
		must(t, os.MkdirAll(dir, 0o700))
		late, other, same := newKey(t, dir+"/wg0.key"), newKey(t, dir+"/wg1.key"), newKey(t, dir+"/wg2.key")
		psk := newPSK(t, dir+"/wg0.basalt.psk")
		newer := map[string]secret{late.Path: newKey(t, late.Path), psk.Path: newPSK(t, psk.Path), same.Path: same}
		write(t, psk.Path, string(newPSK(t, psk.Path).text), 0o600)
		write(t, other.Path, string(newKey(t, other.Path).text), 0o600)
		open := other.Secret
		other.Secret = func() ([]byte, error) { // the hosts have told all by now
			for path, key := range newer {
				write(t, path, string(key.text), 0o600)
			}
			return open()
		}
		results, err := h.push(t, other.File, late.File, psk.File, same.File)
		for _, path := range []string{late.Path, psk.Path} {
			fails(t, err, "cannot install "+path+` on host "shale": was changed by somebody else meanwhile`)
			newer[path].inPlace(t)
		}
		if got := actions(results); got != "replaced installed" {
			t.Errorf("the others: %s", got)
		}
		other.inPlace(t)
		same.inPlace(t)
	})
}

// TestSecretFails: if one secret cannot be had, nothing is installed.
func TestSecretFails(t *testing.T) {
	h := newHost(t, "dash", sshtest.Config{})
	for name, tt := range map[string]struct {
		secret func() ([]byte, error)
		why    string
	}{
		"error":   {func() ([]byte, error) { return nil, errTouch }, errTouch.Error()},
		"another": {func() ([]byte, error) { return newKey(t, "/").text, nil }, "not the key that the keyring names"},
		"empty":   {func() ([]byte, error) { return nil, nil }, "not the key that the keyring names"},
		"two lines": {func() ([]byte, error) { return []byte(strings.Repeat(string(newKey(t, "/").text), 2)), nil },
			"not the key"},
	} {
		dir := t.TempDir()
		a, b := newKey(t, dir+"/a.key"), newKey(t, dir+"/b.key")
		b.Secret = tt.secret
		results, err := h.push(t, a.File, b.File)
		fails(t, err, "nothing was installed: ")
		fails(t, err, tt.why)
		if len(results) != 0 {
			t.Errorf("%s: %+v", name, results)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("%s: something was installed", name)
		}
	}
}

// TestSecretWiped: the buffer of a secret is zero after the push.
func TestSecretWiped(t *testing.T) {
	h := newHost(t, "dash", sshtest.Config{})
	k := newKey(t, t.TempDir()+"/wg0.key")
	k.Secret = func() ([]byte, error) { return k.text, nil }
	_, err := h.push(t, k.File)
	must(t, err)
	if strings.Trim(string(k.text), "\x00") != "" {
		t.Error("the secret is still in memory")
	}
}

// TestFullDisk: the old file stays, and no temporary file.
func TestFullDisk(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		dir := t.TempDir()
		must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"))
		t.Cleanup(func() { must(t, syscall.Unmount(dir, 0)) })
		h = newHost(t, h.speaker, speakers[h.speaker](t)) // its namespace must have the mount
		old := newKey(t, dir+"/wg0.key")
		write(t, old.Path, string(old.text), 0o600)
		if err := os.WriteFile(dir+"/fill", make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
		_, err := h.push(t, newKey(t, old.Path).File)
		fails(t, err, `cannot install `+old.Path+` on host "shale": no space left on device`)
		hinted(t, err, "on shale: df -h; df -i")
		old.inPlace(t)
	})
}

// TestReadOnly: the hint of a folder that cannot be written to shows why.
func TestReadOnly(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		dir := t.TempDir()
		must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_RDONLY, ""))
		t.Cleanup(func() { must(t, syscall.Unmount(dir, 0)) })
		h = newHost(t, h.speaker, speakers[h.speaker](t)) // its namespace must have the mount
		key := newKey(t, dir+"/wg0.key")
		_, err := h.push(t, key.File)
		fails(t, err, `cannot install `+key.Path+` on host "shale": read-only file system`)
		hinted(t, err, `on shale: findmnt -O ro; or in the tunnel file: private_key_file = "/FOLDER/NAME.key"`)
	})
}

func hinted(t *testing.T, err error, want string) {
	t.Helper()
	if got := strings.Join(fault.Hints(err), "\n"); got != want {
		t.Errorf("hint %q, want %q", got, want)
	}
}

// TestLeftovers: a temporary file of a push that was killed is removed by the
// next, that of a push that runs is not.
func TestLeftovers(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		key := newKey(t, t.TempDir()+"/wg0.key")
		running := filepath.Join(filepath.Dir(key.Path), fmt.Sprintf(".wgkeys.%d.abcdef", os.Getpid()))
		write(t, filepath.Join(filepath.Dir(key.Path), ".wgkeys.4999999.abcdef"), "x", 0o600)
		write(t, running, "x", 0o600)
		_, err := h.push(t, key.File)
		must(t, err)
		must(t, os.Remove(running))
		key.inPlace(t)
	})
}

// TestNext: where a rotation has come to a host its next key is right, and needs
// no secret; the old one is right too, and any other is replaced by the old one.
func TestNext(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		dir := t.TempDir()
		old, next, other := newKey(t, dir+"/wg0.key"), newKey(t, dir+"/wg0.key"), newKey(t, dir+"/wg0.key")
		old.Next = next.Want
		for _, test := range []struct {
			name   string
			has    *secret
			mode   os.FileMode
			file   push.File
			action push.Action
			next   bool
			after  secret
		}{
			{"nothing", nil, 0, old.File, push.Installed, false, old},
			{"the old one", &old, 0o600, old.forbidden(), push.Unchanged, false, old},
			{"the next one", &next, 0o600, old.forbidden(), push.Unchanged, true, next},
			{"the next one, for all to read", &next, 0o644, old.forbidden(), push.Repaired, true, next},
			{"another", &other, 0o600, old.File, push.Replaced, false, old},
		} {
			os.Remove(old.Path)
			if test.has != nil {
				write(t, old.Path, string(test.has.text), test.mode)
			}
			results, err := h.push(t, test.file)
			must(t, err)
			if len(results) != 1 || results[0].Action != test.action || results[0].Next != test.next {
				t.Errorf("%s: %+v", test.name, results)
			}
			test.after.inPlace(t)
		}
	})
}
