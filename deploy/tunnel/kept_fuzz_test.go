package tunnel

import "testing"

// FuzzKept: what was kept of a text is read as it was written, or not at all, and whatever it
// holds the next text is read, or refused.
func FuzzKept(f *testing.F) {
	text := textOf(f, crowdedView(1, 2, 3))
	next := textOf(f, crowdedView(1, 3, 4))
	r, err := Read(text, nil)
	if err != nil {
		f.Fatal(err)
	}
	kept, ok := r.AppendBinary(nil)
	if !ok {
		f.Fatal("nothing is kept")
	}
	f.Add(string(kept))
	f.Add(string(kept[:len(kept)/2]))
	f.Add("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, kept string) {
		before := KeptReading(string(text), kept)
		if before == nil {
			return
		}
		if reading, err := Read(next, before); err == nil {
			if err := reading.View.Validate(); err != nil {
				t.Errorf("an invalid view is taken: %v", err)
			}
		}
	})
}
