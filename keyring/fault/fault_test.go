package fault

import (
	"errors"
	"io/fs"
	"testing"
)

func TestSubject(t *testing.T) {
	for want, f := range map[string]*Fault{
		`no such tunnel "wg9": no file`:              New("no such tunnel", "wg9", "no file", ""),
		`lost host "shale": file does not exist`:     WrapHost(fs.ErrNotExist, "lost host", "shale", ""),
		`no such host "shale": no file`:              NewHost("no such host", "shale", "no file", ""),
		`cannot read "a/b:7"`:                        NewFile("cannot read", "a/b:7", "", ""),
		`cannot read "a b": file does not exist`:     WrapFile(fs.ErrNotExist, "cannot read", "a b", ""),
		`invalid "a:3": no number`:                   NewLine("invalid", "a", 3, "no number", ""),
		`no recipient at "a:3": file does not exist`: WrapLine(fs.ErrNotExist, "no recipient at", "a", 3, ""),
		`interrupted`:                                New("interrupted", "", "", ""),
		`cannot lock "a": it is busy: already exists`: {What: "cannot lock", File: "a", Why: "it is busy",
			Err: errors.New("already exists")},
		`cannot lock host "ä\n": it is busy, and so on`: NewHost("cannot lock host", "ä\n", "it is busy, and so on", ""),
	} {
		if got := f.Error(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
