package tunnel

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// TestTablesTwice holds the merger's rules for tables against go-toml's own
// decoder: of many small documents that write the same few tables in all the
// ways TOML has, both accept the same ones.
func TestTablesTwice(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 767))
	accepted := 0
	const documents = 50_000
	for range documents {
		var b strings.Builder
		for range 1 + random.IntN(5) {
			b.WriteString(statement(random))
		}
		var document map[string]any
		want := toml.Unmarshal([]byte(b.String()), &document)
		var m merger
		m.file("x", []byte(b.String()))
		if got := m.err(); (got == nil) != (want == nil) {
			t.Fatalf("got %v, want %v for\n%s", got, want, &b)
		}
		if want == nil {
			accepted++
		}
	}
	if accepted < documents/10 || accepted > documents*9/10 {
		t.Errorf("accepted %d of %d documents: the two kinds are out of balance", accepted, documents)
	}
}

func statement(random *rand.Rand) string {
	var key []string
	for range 1 + random.IntN(3) {
		key = append(key, string(rune('a'+random.IntN(3))))
	}
	dotted := strings.Join(key, ".")
	switch random.IntN(4) {
	case 0, 1:
		return "[" + dotted + "]\n"
	case 2:
		return fmt.Sprintf("%s = { %c.b = 1, a = {} }\n", dotted, 'a'+random.IntN(3))
	}
	return dotted + " = 1\n"
}
