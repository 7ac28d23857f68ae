package manual

import (
	"os/exec"
	"strings"
	"testing"
)

// TestGuide: what a guide may have becomes what man(7) has for it.
func TestGuide(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ markdown, want string }{
		"a title and a paragraph": {"# What it is\n\nA line\nand another.\n",
			".SH DESCRIPTION\nA line and another.\n"},
		"sections":      {"# T\n\n## One\n\na\n\n### Two of it\n\nb\n", ".SH ONE\na\n.SS Two of it\nb\n"},
		"a request":     {"# T\n\n.so /etc/passwd\n\n'x\n", "\\&.so /etc/passwd\n.PP\n\\&'x\n"},
		"a backslash":   {"# T\n\na\\fB\n", "a\\efB\n"},
		"code":          {"# T\n\nRun `a -b \"c\"`.\n", "Run \\fBa \\-b \\(dqc\\(dq\\fR.\n"},
		"stress":        {"# T\n\n**Both** and *one*: 2 * 3 * 4\n", "\\fBBoth\\fR and \\fIone\\fR: 2 * 3 * 4\n"},
		"a guide":       {"# T\n\n[how](rotation.md#x)\n", "how (\\fBwgkeys\\-rotation\\fR(7))\n"},
		"its own name":  {"# T\n\n[vault](vault.md)\n", "\n\\fBwgkeys\\-vault\\fR(5)\n"},
		"a place":       {"# T\n\n[how](#here)\n", "\nhow\n"},
		"a page":        {"# T\n\n[age](https://age-encryption.org/v1)\n", "age <https://age-encryption.org/v1>\n"},
		"a file":        {"# T\n\n[it](../../SECURITY.md)\n", "it (SECURITY.md)\n"},
		"fenced":        {"# T\n\n```toml\n.a = '-'\n\n    b\n```\n", ".EX\n\\&.a = \\(aq\\-\\(aq\n\\&\n    b\n.EE\n"},
		"indented":      {"# T\n\n    a\n\n    b\n\nc\n", ".EX\na\n\\&\nb\n.EE\n.RE\n.PP\nc\n"},
		"a list":        {"# T\n\n- one\n  goes on\n- two\n", ".IP \\(bu 4\none goes on\n.IP \\(bu 4\ntwo\n"},
		"numbers":       {"# T\n\n1. one\n2. two\n", ".IP 1. 4\none\n.IP 2. 4\ntwo\n"},
		"two columns":   {"# T\n\n| K | M |\n|---|---|\n| `a\\|b` | `x`: y |\n", ".TP\n\\fBa|b\\fR\n\\fBx\\fR: y\n"},
		"three columns": {"# T\n\n| K | M | N |\n|---|---|---|\n| `a` | b | c |\n", ".EX\nK  M  N\na  b  c\n.EE\n"},
		"wide columns": {"# T\n\n| K | M | N |\n|---|---|---|\n| a | " + strings.Repeat("b ", 40) + " | c |\n",
			".TP\na\nM: b b"},
		"letters of others": {"# T\n\nä → b\n", "\\[u00E4] \\[u2192] b\n"},
	} {
		page := Book{Date: "2026-11-29", Source: "x"}.Guide("wgkeys", "guide", test.markdown)
		if !strings.Contains(page.Text, test.want) {
			t.Errorf("%s: no\n%s\nin\n%s", name, test.want, page.Text)
		}
		lint(t, name, page)
	}
}

// TestCommand: a page has all that a verb's help has.
func TestCommand(t *testing.T) {
	t.Parallel()
	page := Book{Date: "2026-11-29", Source: "wgkeys v1.0.0", Guides: []string{"gen", "vault"}}.Command("wgkeys", Command{
		Name: "gen", Usage: "make \"keys\"", Args: "HOST...|--all", Description: "One.\n    kept  so\nTwo\nlines.",
		Examples: []string{"wgkeys gen 'a*'"},
		Flags:    []Flag{{Names: []string{"--identity", "-i"}, Value: "FILE", Usage: "from FILE"}, {Names: []string{"-q"}}},
	})
	if page.File != "wgkeys-gen.1" {
		t.Errorf("it is %s", page.File)
	}
	for _, want := range []string{
		".TH WGKEYS\\-GEN 1 2026-11-29 \"wgkeys v1.0.0\" \"User Commands\"\n",
		"wgkeys\\-gen \\- make \\(dqkeys\\(dq\n",
		"\\fBwgkeys gen\\fR [\\fIFLAGS\\fR] \\fIHOST\\fR...|\\fB\\-\\-all\\fR\n",
		"One.\n.PP\n.RS 2\n.EX\nkept  so\n.EE\n.RE\n.PP\nTwo lines.\n",
		".TP\n\\fB\\-i\\fR, \\fB\\-\\-identity\\fR \\fIFILE\\fR\nfrom FILE\n.TP\n\\fB\\-q\\fR\n\\&\n",
		"wgkeys gen \\(aqa*\\(aq\n",
		"\\fBwgkeys\\-gen\\fR(7), \\fBwgkeys\\fR(1)\n",
	} {
		if !strings.Contains(page.Text, want) {
			t.Errorf("no\n%s\nin\n%s", want, page.Text)
		}
	}
	lint(t, "command", page)
}

// lint has mandoc judge a page, where it is installed.
func lint(t *testing.T, name string, page Page) {
	t.Helper()
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Log("no mandoc here")
		return
	}
	cmd := exec.Command(mandoc, "-T", "lint")
	cmd.Stdin = strings.NewReader(page.Text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s: %v\n%s\n%s", name, err, out, page.Text)
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	got := Tables("# T\n\nUnder `[x]`:\n\n| K | M |\n|---|---|\n| `a`, `b` | [see](c.md) `d` |\n")
	if want := (Row{"a, b", "see d"}); len(got) != 1 || len(got["Under [x]:"]) != 1 || got["Under [x]:"][0] != want {
		t.Errorf("%q", got)
	}
}

// TestLowered: a title begins small within a line, and a name stays as it is.
func TestLowered(t *testing.T) {
	for title, want := range map[string]string{
		"Beside network managers": "beside network managers", "WireGuard keys in a vault": "WireGuard keys in a vault",
		"IPv6 at home": "IPv6 at home", "": "",
	} {
		if got := lowered(title); got != want {
			t.Errorf("%q became %q", title, got)
		}
	}
}
