package ifupdown

import (
	"strconv"
	"strings"

	"wgkeys/keyring/fault"
)

func itoa(n int) string { return strconv.Itoa(n) }

// fullText is an error as a person sees it, with its hints.
func fullText(err error) string { return err.Error() + "\n" + strings.Join(fault.Hints(err), "\n") }
