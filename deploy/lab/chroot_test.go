package lab_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"wgkeys/deploy/lab"
	"wgkeys/deploy/lab/labtest"
)

// inside is set when the test runs itself in another root.
const inside = "WGKEYS_TEST_ROOT"

// In a chroot no laboratory can be made, because commands for a host would act on the
// machine. That holds whether the chroot is a mount of its own or a mount of the machine's
// root. After pivot_root(2) one can be made.
func TestChroot(t *testing.T) {
	if os.Getenv(inside) != "" {
		l, err := lab.New()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		h, err := l.Host("shale")
		if err != nil {
			t.Fatal(err)
		}
		name, err := h.Run(t.Context(), "hostname")
		if err != nil || name != "shale\n" {
			t.Errorf("its name is %q, %v", name, err)
		}
		return
	}
	labtest.Require(t, "unshare", "chroot", "pivot_root", "hostname")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, script string) (string, error) {
		cmd := exec.Command("unshare", "--mount", "sh", "-ec", script, "sh", t.TempDir(), self, "-test.run=^TestChroot$")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	// $1 is the new root; $2 and $3 are the test and its argument.
	const (
		root = `for d in usr etc var tmp dev proc sys root run home old; do mkdir -p $1/$d; done
			for d in bin sbin lib lib64; do ln -s usr/$d $1/$d; done
			for d in usr etc var tmp dev proc sys; do mount --rbind /$d $1/$d; done
			mkdir $1/run/lab; cp $2 $1/run/lab/test
			cd $1; `
		tmpfs = "mount -t tmpfs root $1; "
	)
	for name, c := range map[string]struct {
		script  string
		refused bool
	}{
		"a mount":          {tmpfs + root + "exec chroot . /run/lab/test $3", true},
		"a folder":         {tmpfs + "mkdir $1/in; set -- $1/in $2 $3; " + root + "exec chroot . /run/lab/test $3", true},
		"the root, again":  {"mount --rbind / $1; exec chroot $1 $2 $3", true},
		"what was pivoted": {tmpfs + root + "pivot_root . old; umount -l /old; exec /run/lab/test $3", false},
	} {
		if !c.refused && lab.Kernel() == "vm" {
			continue // an initramfs is no root to pivot from (pivot_root(2))
		}
		t.Run(name, func(t *testing.T) {
			out, err := run(t, c.script)
			switch {
			case !c.refused && err != nil:
				t.Errorf("%v: %s", err, out)
			case c.refused && (err == nil || !strings.Contains(out, "this is a chroot")):
				t.Errorf("not refused: %v: %s", err, out)
			}
		})
	}
}
