package foreign

import (
	"fmt"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
)

// What is lost with any other program is written into its files as a comment. Those of a telephone
// have none: each makes the QR code larger, and nobody changes anything there.

// Untried returns a sentence for each peer with several endpoints, of which only wgkeys tries the
// later ones.
func Untried(v *tunnel.View) (notes []string) {
	for i := range v.Peers {
		if all := v.Peers[i].Endpoints(); len(all) > 1 && !v.Unmanaged {
			notes = append(notes, fmt.Sprintf("%s is tried at %s alone, and no longer at %s", v.Peers[i].Name, all[0],
				strings.Join(all[1:], ", ")))
		}
	}
	return notes
}

// InTheClear returns a sentence if v has a default route with a kill switch, which no other
// program has.
func InTheClear(v *tunnel.View) (notes []string) {
	kept := !v.NoKillSwitch && slices.ContainsFunc(v.Routes, func(r tunnel.Route) bool {
		return r.Prefix.Bits() < Wide && NeedsTable(v, r)
	})
	if kept && !v.Unmanaged {
		notes = append(notes, "when the interface is gone packets leave in the clear: there is no kill switch")
	}
	return notes
}

// EveryName returns a sentence if v has resolvers for some domains, for a program that asks them
// for every name.
func EveryName(v *tunnel.View) (notes []string) {
	domains := slices.DeleteFunc(slices.Clone(v.DNS), isAddress)
	if len(domains) > 0 && !slices.Contains(domains, "~.") && !v.Unmanaged {
		notes = append(notes, "the resolvers are asked for every name, and not only for those of "+strings.Join(domains, ", "))
	}
	return notes
}

func isAddress(s string) bool { return prefix(s).IsValid() }
