package ifupdown

import (
	"strconv"
	"strings"

	"wgkeys/keyring/fault"
)

func itoa(n int) string { return strconv.Itoa(n) }

// fullText returns an error with its hints, as a user sees it.
func fullText(err error) string { return err.Error() + "\n" + strings.Join(fault.Hints(err), "\n") }
