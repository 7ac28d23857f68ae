package session

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/files"
)

// A known remembers the inputs of the last apply, in two ways.
//
// It has the view's text and, beside it, the parsed view: of the next text only the
// differences have to be parsed and validated.
//
// And it remembers that there was nothing to do. A plan depends only on the view, the
// journals and the state of the kernel, so if all three are as they were when the plan was
// empty it is empty again, and ten thousand peers need not be compared one by one. The
// kernel is always asked for everything that a plan needs, so changes there are seen.
//
// The file, TUNNEL.known beside the journal, is a line of JSON and then these parts, each
// with its size in front. It contains no secret; down removes it.
type known struct {
	knownPlan
	text, reading string
	inputs        string // all other inputs of a plan, except the kernel
	state         string // the state of the kernel
}

type knownPlan struct {
	Empty bool     `json:"empty"`
	Notes []string `json:"notes"`
	Finds []string `json:"finds"`
}

// openKnown returns what is known about a tunnel, which may be nothing. An error here
// occurs again when the plan is made.
func openKnown(name string) (k known) {
	file, err := mapped(journal.KnownPath(linux.RunDir, name))
	if err != nil {
		return known{}
	}
	line, rest, _ := strings.Cut(file, "\n")
	if json.Unmarshal([]byte(line), &k.knownPlan) != nil {
		return known{}
	}
	for _, part := range []*string{&k.inputs, &k.text, &k.reading, &k.state} {
		var ok bool
		if *part, rest, ok = cutPart(rest); !ok {
			return known{}
		}
	}
	return k
}

// before is the reading of the known text. Another version of this program may have stored
// it differently, and its inputs differ.
func (k *known) before() *tunnel.Reading {
	program, err := programOf()
	if err != nil || len(k.inputs) < len(program) || k.inputs[:len(program)] != program {
		return nil
	}
	return tunnel.KeptReading(k.text, k.reading)
}

// PlanText plans for the view in this text. It asks the kernel once.
func (s *Session) PlanText(ctx context.Context, name string, text []byte) (*apply.Plan, *tunnel.Reading, error) {
	k := openKnown(name)
	reading, err := tunnel.Read(text, k.before())
	if err != nil {
		return nil, nil, err
	}
	view, err := admit(reading.View, s.Old)
	if err != nil {
		return nil, nil, err
	}
	state, others, err := s.observe(ctx, name, view)
	if err != nil {
		return nil, nil, err
	}
	if view == reading.View && k.empty(text, state) {
		return &apply.Plan{Tunnel: name, Host: reading.View.Host, Notes: k.Notes, Findings: k.Finds, Known: true,
			View: reading.View}, reading, nil
	}
	plan, err := s.make(view, state, others)
	return plan, reading, err
}

// empty reports whether the plan is empty because the last one was.
func (k *known) empty(text []byte, state *apply.State) bool {
	if !k.Empty || k.text != string(text) {
		return false
	}
	return k.sameInputs() && k.state == string(spell(state))
}

// sameInputs compares with the present result of [inputsOf].
func (k *known) sameInputs() bool {
	rest := k.inputs
	program, err := programOf()
	if err != nil || !cut(&rest, program) {
		return false
	}
	journals, err := filepath.Glob(filepath.Join(linux.RunDir, "*.journal"))
	if err != nil {
		return false
	}
	for _, path := range journals {
		name, after, _ := cutPart(rest)
		journal, after, ok := cutPart(after)
		if rest = after; !ok || name != path || !files.Holds(path, journal) {
			return false
		}
	}
	return rest == ""
}

// cut removes part from the beginning of text.
func cut(text *string, part string) (ok bool) {
	*text, ok = strings.CutPrefix(*text, part)
	return ok
}

// Remember stores what the next plan can use: that the last plan of this session is empty,
// if it is, and the parsed view. If that has hardly changed the file is left as it is.
func (s *Session) Remember(plan *apply.Plan, reading *tunnel.Reading) error {
	empty := len(plan.Steps) == 0 && len(s.damaged) == 0
	if plan.Known || !empty && !reading.MostlyNew() {
		return nil
	}
	read, ok := reading.AppendBinary(nil)
	if !ok {
		return nil
	}
	inputs, err := inputsOf()
	if err != nil {
		return err
	}
	var state []byte
	if empty {
		state = spell(s.state)
	}
	line, err := json.Marshal(knownPlan{empty, plan.Notes, plan.Findings})
	if err != nil {
		return err
	}
	text := reading.Text()
	file := make([]byte, 0, len(line)+len(inputs)+len(text)+len(read)+len(state)+64)
	file = append(append(file, line...), '\n')
	file = appendPart(file, inputs)
	file = append(appendSize(file, len(text)), text...)
	file = appendPart(file, read)
	file = appendPart(file, state)
	return journal.WriteFile(journal.KnownPath(linux.RunDir, plan.Tunnel), file, 0o600)
}

// inputsOf are all inputs of a plan besides the view and the kernel.
func inputsOf() ([]byte, error) {
	program, err := programOf()
	if err != nil {
		return nil, err
	}
	inputs := []byte(program)
	journals, err := filepath.Glob(filepath.Join(linux.RunDir, "*.journal")) // sorted
	for _, path := range journals {
		journal, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		inputs = appendPart(appendPart(inputs, []byte(path)), journal)
	}
	return inputs, err
}

// programOf identifies this version of the program; another one may plan differently and
// look at something else.
func programOf() (string, error) {
	program, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %d;", program.Size(), program.ModTime().UnixNano()), nil
}

// appendPart delimits a part from the next one.
func appendPart(b, part []byte) []byte { return append(appendSize(b, len(part)), part...) }

func appendSize(b []byte, size int) []byte { return binary.BigEndian.AppendUint64(b, uint64(size)) }

func cutPart(text string) (part, rest string, ok bool) {
	const size = 8
	if len(text) < size {
		return "", "", false
	}
	n := binary.BigEndian.Uint64([]byte(text[:size]))
	if text = text[size:]; n > uint64(len(text)) {
		return "", "", false
	}
	return text[:n], text[n:], true
}
