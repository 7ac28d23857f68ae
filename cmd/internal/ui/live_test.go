package ui

import (
	"testing"

	"github.com/rivo/uniseg"
)

// TestCut: a line stays on its row of the terminal, whatever a host says, and no character
// is torn apart.
func TestCut(t *testing.T) {
	for _, c := range []struct {
		line    string
		columns int
		want    string
	}{
		{"short", 10, "short"},
		{"just right", 10, "just right"},
		{"a bit longer", 10, "a bit l..."},
		{"設定を読んでいます", 18, "設定を読んでいます"},
		{"設定を読んでいます", 17, "設定を読んでい..."},
		{"設定を読んでいます", 16, "設定を読んで..."},
		{"cafe\u0301 cafe\u0301", 9, "cafe\u0301 cafe\u0301"},
		{"cafe\u0301 cafe\u0301", 8, "cafe\u0301 ..."},
		{"cafe\u0301 cafe\u0301", 7, "cafe\u0301..."},
	} {
		got := cut(c.line, c.columns)
		if got != c.want || uniseg.StringWidth(got) > c.columns {
			t.Errorf("%q in %d columns: %q", c.line, c.columns, got)
		}
	}
}

// TestLiveLines: what a host is at takes one row.
func TestLiveLines(t *testing.T) {
	l := &Live{all: 1, rows: []row{{"alpha", "one\ttwo\nthree"}}}
	if got := l.lines(4); len(got) != 2 || got[0] != "  alpha  one two three" {
		t.Errorf("%q", got)
	}
}

// TestRowsNow: lines that a narrower terminal has broken take more rows.
func TestRowsNow(t *testing.T) {
	for _, c := range []struct{ columns, want int }{{0, 4}, {80, 4}, {79, 4}, {78, 5}, {40, 5}, {39, 7}, {20, 8}} {
		if got := rowsNow([]int{79, 40, 0, 18}, c.columns); got != c.want {
			t.Errorf("%d columns: %d rows, want %d", c.columns, got, c.want)
		}
	}
}
