package vault

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wgkeys/keyring/fault"
)

const sshKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPhZVOv+B/9P/kaNEEeb/HX9IH3rEWYzDaZZnVWMCNPI"

func newRecipient(t testing.TB, postQuantum bool) string {
	t.Helper()
	_, recipient, err := generate(postQuantum)
	if err != nil {
		t.Fatal(err)
	}
	return recipient
}

func TestRecipients(t *testing.T) {
	v := Vault{Dir: filepath.Join(t.TempDir(), "vault")}
	a, b, c, d := newRecipient(t, false), newRecipient(t, false), newRecipient(t, false), newRecipient(t, false)
	all, host := filepath.Join(v.Dir, "recipients.txt"), filepath.Join(v.Dir, "shale", "recipients.txt")
	writeFile(t, all, "# the admins\n#\n# alice\n"+a+"\n"+b+"\n\n"+c+"\n"+sshKey+" carol@example.net\n")
	writeFile(t, host, "# shale itself\r\n"+d+"\r\n"+a+"\n")

	rs, err := v.Recipients("shale")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rs {
		got = append(got, r.String()+" "+r.Text)
		if r.PostQuantum {
			t.Errorf("%v is not post-quantum", r)
		}
	}
	want := []string{
		"alice (" + all + ":4) " + a,
		all + ":5 " + b,
		all + ":7 " + c,
		"carol@example.net (" + all + ":8) " + sshKey,
		"shale itself (" + host + ":2) " + d,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if rs, err := v.Recipients("basalt"); err != nil || len(rs) != 4 {
		t.Errorf("a host without recipients of its own has %d, %v", len(rs), err)
	}

	// A file that is encrypted to others, in another order.
	f := rs.Fingerprints()
	gone := fingerprint("gone")
	missing, stale := rs.Compare([]Fingerprint{f[4], gone, f[0], f[1], f[3]})
	if len(missing) != 1 || missing[0].Text != c || len(stale) != 1 || stale[0] != gone {
		t.Errorf("Compare: %v, %v", missing, stale)
	}
	if missing, stale := rs.Compare([]Fingerprint{f[1], f[0], f[2], f[3], f[4]}); missing != nil || stale != nil {
		t.Errorf("Compare in another order: %v, %v", missing, stale)
	}
}

func TestRecipientsFail(t *testing.T) {
	x, pq := newRecipient(t, false), newRecipient(t, true)
	secret, _, err := generate(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, all, host, want string }{
		{"none", "# nobody\n", "", "no recipients"},
		{"empty", "", "", "no recipients"},
		{"mixed", "# a\n" + pq + "\n", x + "\n", "post-quantum: ALL:2; classic: HOST:1"},
		{"mixed in a file", x + "\n" + pq + "\n" + sshKey + "\n", "", "post-quantum: ALL:2; classic: ALL:1, ALL:3"},
		{"an identity", x + "\n" + secret + "\n", "", `"ALL:2": this is an identity`},
		{"an identity of the host", x + "\n", "\n\n" + secret + "\n", `"HOST:3": this is an identity`},
		{"a changed character", x[:20] + "b" + x[21:] + "\n", "", `"ALL:1": a character`},
		{"a post-quantum one cut short", pq[:500] + "\n", "", `"ALL:1": a character`},
		{"a space behind", x + " \n", "", `"ALL:1": a character`},
		{"a space in front", " " + x + "\n", "", `"ALL:1": a line begins with`},
		{"a comment behind", x + " # alice\n", "", `"ALL:1": a character`},
		{"upper case", strings.ToUpper(x) + "\n", "", `"ALL:1": a line begins with`},
		{"a plugin's", "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3q\n", "",
			`"ALL:1": a character`},
		{"an unknown SSH key", "ssh-dss AAAAB3NzaC1kc3MAAAAA\n", "", `"ALL:1": a character`},
		{"an SSH key cut short", sshKey[:40] + "\n", "", `"ALL:1": a character`},
		{"an endless line", strings.Repeat("a", 1<<17) + "\n", "", `"ALL:1": a line begins`},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := Vault{Dir: filepath.Join(t.TempDir(), "vault")}
			all, host := filepath.Join(v.Dir, "recipients.txt"), filepath.Join(v.Dir, "shale", "recipients.txt")
			writeFile(t, all, test.all)
			if test.host != "" {
				writeFile(t, host, test.host)
			}
			want := strings.NewReplacer("ALL", all, "HOST", host).Replace(test.want)
			_, err := v.Recipients("shale")
			if _, ok := errors.AsType[*fault.Fault](err); !ok || !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not say %q", err, want)
			}
			if err != nil && strings.Contains(err.Error(), secret[20:30]) {
				t.Errorf("%v shows the identity", err)
			}
			before := snapshot(t, v)
			if err := v.SealKey("shale", "wg0.key", newKey(t), made); err == nil {
				t.Error("it seals")
			}
			if diff := cmp.Diff(before, snapshot(t, v)); diff != "" {
				t.Error(diff)
			}
		})
	}
	v := Vault{Dir: filepath.Join(t.TempDir(), "vault")}
	_, err = v.Recipients("shale")
	assertFault(t, err, fs.ErrNotExist, filepath.Join(v.Dir, recipientsFile), "cannot read the recipients")
	assertHint(t, err, "git log -- "+filepath.Join(v.Dir, recipientsFile)+"; without git: age-keygen -y IDENTITY > "+
		filepath.Join(v.Dir, recipientsFile))
}
