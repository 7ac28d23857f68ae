package tunnel

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func goldenViews(t testing.TB) (texts []string) {
	t.Helper()
	files, err := filepath.Glob("testdata/views/*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d views, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

// readSpelled reports false for a text in another spelling.
func readSpelled(text string) (*View, bool) {
	r, _, ok := readAgain(text, new(Reading))
	return r.View, ok
}

// What EncodeView writes is read without encoding/json.
func TestSpelledViewsAreReadAsSpelled(t *testing.T) {
	for _, text := range goldenViews(t) {
		if _, ok := readSpelled(text); !ok {
			t.Errorf("not read as spelled:\n%s", text)
		}
	}
}

// Every byte of a view is looked at: a text in which one is missing, another or
// twice is read as encoding/json reads it, or left to it.
func TestSpellingIsStrict(t *testing.T) {
	for _, text := range goldenViews(t) {
		for i := range text {
			for _, other := range []string{"", text[i:i+1] + text[i:i+1], "0", "\x00", "\xff"} {
				readsAlike(t, text[:i]+other+text[i+1:])
			}
		}
	}
}

func readsAlike(t *testing.T, text string) {
	t.Helper()
	v, ok := readSpelled(text)
	if !ok {
		return
	}
	if want, err := readJSON([]byte(text)); err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("%s\nis read as %+v\nby encoding/json as %+v, %v", text, v, want, err)
	}
}

func FuzzSpelling(f *testing.F) {
	for _, text := range goldenViews(f) {
		f.Add(text)
	}
	f.Fuzz(readsAlike)
}
