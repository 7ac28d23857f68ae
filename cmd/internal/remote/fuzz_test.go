package remote

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"wgkeys/cmd/internal/repo"
	"wgkeys/deploy/rotate"
)

// Points that a peer may have, unlike the short ones of the other tests.
const (
	ownKeyText = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
	farKeyText = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
)

// FuzzAnswer: whatever a host answers when it is looked at, it is judged by what the
// repository has: a key that is not the repository's is a finding, no time is before its
// own, and what is reported of it can be written as JSON and is not much more than it said.
func FuzzAnswer(f *testing.F) {
	dir := f.TempDir()
	for name, text := range map[string]string{
		"wgkeys.toml":       "",
		"tunnels/wg0.toml":  "[hosts.a]\nendpoint = \"192.0.2.1\"\n[hosts.b]\naddresses = [\"10.0.0.2\"]\n",
		"keyring/a/wg0.pub": ownKeyText + "\n", "keyring/b/wg0.pub": farKeyText + "\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	r, err := repo.Find(dir)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		`{"protocol":3,"live":{"public_key":"` + ownKeyText + `","peers":{"` + farKeyText +
			`":{"handshake":"2026-01-02T11:00:00Z","received":-5,"sent":9223372036854775807,"endpoint":"x"}}},` +
			`"file":{"public_key":"` + farKeyText + `"},"clock":"2026-01-02T12:00:00Z","planned":{"steps":-1}}`,
		`{"protocol":3,"live":{"gone":"\u001b[2J"},"record":{"phase":"switched"},"also":[{"protocol":3},{"protocol":2}]}`,
		`{"protocol":3,"fault":{"What":"cannot","Who":"\u202e"}}`,
		`{"protocol":9999}`, "null", "[]", `{"clock":"9999-12-31T23:59:59Z","protocol":3,"planned":{"refused":"no"}}`,
	} {
		f.Add([]byte(s))
	}
	q := Survey{Hosts: &Hosts{Version: "wgkeys 1"}, Repo: r, Follow: true, views: &repo.AllViews{Repo: r}}
	f.Fuzz(func(t *testing.T, said []byte) {
		var a rotate.Answer
		if json.Unmarshal(said, &a) != nil {
			return // Hosts.ask says so
		}
		p := rotate.Participant{Host: "a", Ask: func(context.Context, rotate.Request) (rotate.Answer, error) {
			return a,
				nil
		}}
		answers, errs := p.LookAndPlan(t.Context(), []rotate.Look{{Tunnel: "wg0"}, {Tunnel: "wg1"}})
		if len(answers) != 2 || len(errs) != 2 {
			t.Fatalf("%d answers, %d errors", len(answers), len(errs))
		}
		all, err := NewStatuses(r, "", []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		s := all[0]
		if _, err := q.prepare(s); err != nil {
			t.Fatal(err)
		}
		if answers[0].Settled() && answers[0].Planned == nil {
			answers[0].Planned = &rotate.Planned{} // or another connection tells it
		}
		if err := q.read(t.Context(), s, answers[0]); err != nil {
			t.Fatal(err)
		}
		judged(t, s, len(said))
	})
}

func judged(t *testing.T, s *HostStatus, said int) {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil || len(text) > 1<<12+16*said {
		t.Errorf("%d bytes of %d, %v", len(text), said, err)
	}
	if s.Live.String() != ownKeyText && len(s.Findings) == 0 {
		t.Errorf("nothing is found of a host that uses %s", s.Live)
	}
	for _, p := range s.Peers {
		if p.Age != nil && *p.Age < 0 || p.Up && p.Age == nil {
			t.Errorf("%+v", p)
		}
	}
}
