package repo

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// settings are the keys of wgkeys.toml.
type settings struct {
	MaxKeyAge age `toml:"max_key_age"`
}

// An age is written "365d", or as time.ParseDuration reads it: "720h". It is a struct
// because a TOML number would be accepted for a time.Duration, as nanoseconds.
type age struct{ time.Duration }

const Day = 24 * time.Hour

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *age) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * Day
	}
	if err != nil || d <= 0 {
		return errors.New(`want days or hours above 0, as in "365d" or "720h"`)
	}
	a.Duration = d
	return nil
}

// InDays formats an age as it may be written.
func InDays(d time.Duration) string {
	if d%Day == 0 {
		return strconv.Itoa(int(d/Day)) + "d"
	}
	return d.String()
}

// parseSettings parses the text of wgkeys.toml in dir as strictly as a tunnel file: an
// unknown key is an error that names the line.
func parseSettings(dir string, text []byte) (settings, error) {
	var s settings
	text = files.Text(text)
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&s)
	if err == nil {
		return s, nil
	}
	file := filepath.Join(dir, Marker)
	if why := files.Unreadable(text); why != nil {
		return s, fault.WrapFile(why, "cannot read the settings", file, files.Brings(why, "git -C "+ui.Quoted(dir)+" status"))
	}
	invalid := func(line int, why string) error {
		return fault.NewLine("invalid settings", file, line, why, "the one setting there is: max_key_age = \"365d\"")
	}
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var errs []error
		for _, e := range unknown.Errors {
			line, _ := e.Position()
			key := strings.Join(e.Key(), ".")
			why := fmt.Sprintf("unknown key %q", key)
			if m := ui.DidYouMean(key, []string{"max_key_age"}, strconv.Quote); m != "" {
				why += ": " + m
			}
			errs = append(errs, invalid(line, why))
		}
		return s, errors.Join(errs...)
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, column := wrong.Position()
		why := strings.TrimPrefix(wrong.Error(), "toml: ")
		if lines := bytes.Split(text, []byte("\n")); line <= len(lines) && column <= len(lines[line-1])+1 {
			rest := lines[line-1][column-1:]
			why = tunnel.NotTOML(why, rest)
			if odd := files.Lookalike(rest); odd != nil {
				why = odd.Error()
			}
		}
		return s, invalid(line, why)
	}
	return s, invalid(lineOf("max_key_age", text), strings.TrimPrefix(err.Error(), "toml: "))
}

// lineOf is the line where a key is set, for a value of the wrong type: go-toml does not
// report that.
func lineOf(key string, text []byte) int {
	for i, line := range bytes.Split(text, []byte("\n")) {
		if before, _, _ := bytes.Cut(line, []byte("#")); bytes.Contains(before, []byte(key)) {
			return i + 1
		}
	}
	return 1
}
