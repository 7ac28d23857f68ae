package tunnel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"wgkeys/keyring/fault"
)

// Format is the version of a view's JSON. Readers refuse every other one: half
// a view must never be made true.
const Format = 1

// maxView is more than a view of ten thousand peers with some routes each.
const maxView = 64 << 20

// wire is a view's JSON: the view with its format in front.
type wire struct {
	Format int `json:"format"`
	*View
}

// EncodeView writes v as indented JSON.
func EncodeView(w io.Writer, v *View) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(wire{Format, v})
}

// DecodeView reads one view and nothing after it. It trusts nothing: an unknown
// key is an error, and so is whatever [View.Validate] refuses.
func DecodeView(r io.Reader) (*View, error) {
	in := wire{View: new(View)}
	d := json.NewDecoder(io.LimitReader(r, maxView))
	d.DisallowUnknownFields()
	err := d.Decode(&in)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			err = nil
		} else if err == nil {
			err = errors.New("there is more after it")
		}
	}
	if err == nil && in.Format != Format {
		err = fmt.Errorf("format %d, want %d: the two ends run different versions of wgkeys", in.Format, Format)
	}
	if err != nil {
		return nil, fault.Wrap(err, "cannot read the view", "", hintFor(err))
	}
	return in.View, in.View.Validate()
}

// hintFor tells what is no view at all from one of another version.
func hintFor(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "it is what wgkeys show --json HOST writes"
	}
	return "on both ends: wgkeys --version"
}
