package networkmanager

import (
	"testing"

	"wgkeys/deploy/tunnel/foreign/foreigntest"
)

// TestCorpus: what real files say, and what of it is left out.
func TestCorpus(t *testing.T) { foreigntest.GoldenEach(t, Parse, "testdata/corpus", "testdata/cases") }
