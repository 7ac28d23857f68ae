package labtest

import (
	"fmt"
	"testing"
)

// A verdict stands in for a *testing.T and records how the test ended.
type verdict struct{ text string }

func (*verdict) Helper()                        {}
func (v *verdict) Skipf(f string, args ...any)  { v.text = "skip: " + fmt.Sprintf(f, args...) }
func (v *verdict) Fatalf(f string, args ...any) { v.text = "fail: " + fmt.Sprintf(f, args...) }

func TestNoSkipInCI(t *testing.T) {
	for ci, want := range map[bool]string{
		true:  "fail: no laboratory in CI: not root",
		false: "skip: no laboratory: not root; run `sudo make test`",
	} {
		var v verdict
		refuse(&v, ci, "not root")
		if v.text != want {
			t.Errorf("CI %v: %s, want %s", ci, v.text, want)
		}
	}
}

func TestMissingNames(t *testing.T) {
	const absent = "wgkeys-no-such-program"
	if got, want := missing([]string{absent}), "not installed: "+absent; got != want && got != "not root" {
		t.Errorf("missing is %q, want %q", got, want)
	}
}
