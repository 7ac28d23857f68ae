package tunnel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"wgkeys/keyring/fault"
)

// Format is the version of a view's JSON. Readers refuse every other one: a partly
// understood view must never be applied.
const Format = 1

// maxView is larger than a view of ten thousand peers with some routes each, in bytes.
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

// ReadText reads the text of a view for [ParseView].
func ReadText(r io.Reader) ([]byte, error) {
	text := bytes.NewBuffer(make([]byte, 0, room(r)))
	_, err := text.ReadFrom(io.LimitReader(r, maxView+1))
	if err == nil && text.Len() > maxView {
		err = fmt.Errorf("it is larger than %d MiB", maxView>>20)
	}
	if err != nil {
		return nil, fault.Wrap(err, "cannot read the view", "", "")
	}
	return text.Bytes(), nil
}

// room is how much to allocate for what r has: that of a large view grows in many steps.
func room(r io.Reader) (bytes int64) {
	const least = 8 << 10
	if f, ok := r.(fs.File); ok {
		if info, err := f.Stat(); err == nil {
			return min(info.Size(), maxView) + least
		}
	}
	return least
}

// ParseView parses the text of one view and nothing after it. It is strict: an unknown key
// is an error, and so is whatever [View.Validate] refuses.
func ParseView(text []byte) (*View, error) {
	r, err := Read(text, nil)
	return r.View, err
}

// ParseKept is [ParseView] for a view that this host has kept, see [View.ValidateKept]. Its
// errors do not say of what they are.
func ParseKept(text []byte) (*View, error) {
	v, err := readJSON(text)
	if err != nil {
		return nil, keptBy(err)
	}
	return v, v.ValidateKept()
}

// keptBy says of a view that this host has kept why it cannot be read. The words are not those
// about a view that was sent, for which an admin's machine looks: that one may be sent in the
// spelling of an older wgkeys.
func keptBy(err error) error {
	if key, unknown := errors.AsType[UnknownKeyError](err); unknown {
		return fmt.Errorf("its key %q is unknown here: a newer wgkeys has written it", string(key))
	}
	if isSyntax(err) {
		return errors.New("it is damaged")
	}
	return err
}

// readJSON parses a view in any spelling.
func readJSON(text []byte) (*View, error) {
	in := wire{View: new(View)}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		if key := UnknownKey(err.Error()); key != "" {
			err = UnknownKeyError(key)
		}
		return nil, err
	}
	switch _, err := d.Token(); {
	case err == nil:
		return nil, errors.New("there is more after it")
	case err != io.EOF:
		return nil, err
	case in.Format != Format:
		return nil, fmt.Errorf("format %d, want %d: the two ends run different versions of wgkeys", in.Format, Format)
	}
	return in.View, nil
}

// An UnknownKeyError is that of a view with a key that this program does not know: a newer one
// has written it. A newer one on another machine also knows the error by its text.
type UnknownKeyError string

func (k UnknownKeyError) Error() string { return unknownKey + string(k) + `"` }

// unknownKey begins the text. It is that of encoding/json.
const unknownKey = `json: unknown field "`

// UnknownKey is the key in the text of an [UnknownKeyError], which may be part of another text;
// "": it is none.
func UnknownKey(said string) string {
	_, after, _ := strings.Cut(said, unknownKey)
	key, _, _ := strings.Cut(after, `"`)
	return key
}

// hintFor distinguishes a text that is no view from a view of another version.
func hintFor(err error) string {
	if isSyntax(err) {
		return "it is what wgkeys show --json HOST writes"
	}
	return "on both ends: wgkeys --version"
}

func isSyntax(err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
