package participant

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
)

// FuzzServe: whatever a controller says, the host gives one answer, and one that the
// controller reads. What would change the host is not let through here, but for what is
// refused before anything is looked at; its names lead to no other folder.
func FuzzServe(f *testing.F) {
	for _, s := range []string{
		`{"protocol":3,"do":"look","tunnel":"wg0"}`,
		`{"protocol":3,"do":"look","tunnel":"wg0","view":{"tunnel":"wg0"},"also":[{"do":"look","tunnel":"wg1"},{"do":"make"}]}`,
		`{"protocol":3,"do":"switch","tunnel":"../wg0","old":"yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="}`,
		`{"protocol":3,"do":"replace","tunnel":"wg0","key_file":"/etc/wireguard/../shadow"}`,
		`{"protocol":9,"do":"dance","tunnel":"wg0"}`, `{"protocol":3`, "[]", "null",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var q rotate.Request
		if json.NewDecoder(bytes.NewReader(text)).Decode(&q) != nil {
			q = rotate.Request{} // it may have a part
		} else if checkNames(q) == nil {
			if filepath.Base(journalOf(q.Tunnel)) != q.Tunnel+".journal" || q.KeyFile != "" && !filepath.IsAbs(q.KeyFile) {
				t.Fatalf("%q and %q are let through", q.Tunnel, q.KeyFile)
			}
			if !harmless(q) {
				return
			}
		}
		var said bytes.Buffer
		if err := (Server{Version: "wgkeys"}).Serve(t.Context(), bytes.NewReader(text), &said); err != nil {
			t.Fatal(err)
		}
		var a rotate.Answer
		lines := strings.Count(said.String(), "\n")
		err := json.Unmarshal(said.Bytes(), &a)
		if err != nil || lines != 1 || len(a.Also) != len(q.Also) {
			t.Errorf("%d lines, %v: %s", lines, err, said.String())
		}
		if said.Len() > 1<<12+16*len(text) {
			t.Errorf("%d bytes of answer for %d", said.Len(), len(text))
		}
	})
}

// journalOf is a file that is named by the tunnel.
func journalOf(name string) string { return filepath.Join("/run/wgkeys", name+".journal") }

// harmless reports whether a request looks at no more than a tunnel that is not there.
func harmless(q rotate.Request) bool {
	if !q.Understood() {
		return true
	}
	known := q.Do == rotate.DoLook || q.Do == "" || q.Do == "dance"
	return known && len(q.Peers) == 0 && !q.Hold && q.KeyFile == "" && tunnel.CheckName(q.Tunnel) == nil
}
