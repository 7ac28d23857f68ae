package apply_test

import (
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
)

// TestMarkPasses: whatever the mark changes from and to, after no single
// change would a rule send the encrypted packets into the tunnel.
func TestMarkPasses(t *testing.T) {
	const defaultRoute = "[hosts.shale]\nendpoint = \"93.93.130.7\"\nroutes = [\"0.0.0.0/0\"]\n[hosts.basalt]\naddresses = [\"10.7.0.2/32\"]\n"
	texts := map[string]string{
		"plain":        strings.Replace(defaultRoute, "0.0.0.0/0", "10.8.0.0/16", 1),
		"plain, mark":  strings.Replace(defaultRoute, "0.0.0.0/0", "10.8.0.0/16", 1) + "fwmark = 0x98\n",
		"chosen mark":  defaultRoute,
		"another mark": defaultRoute + "fwmark = 0x99\n",
		"table":        defaultRoute + "table = 777\n",
	}
	for from, fromText := range texts {
		for to, toText := range texts {
			h := newHost(t)
			h.apply(t, view(t, fromText, "basalt", nil))
			h.hook = func(m moment, _ int, c apply.Change) error {
				if r, caught := h.catchesItself("wg0"); m == after && caught {
					t.Errorf("%s → %s: after %s, %s sends encrypted packets into the tunnel", from, to, c, r)
				}
				return nil
			}
			h.apply(t, view(t, toText, "basalt", nil))
		}
	}
}

// catchesItself looks the encrypted packets up as the kernel does, rule by rule
// (fib_rules_lookup): is the first one that takes them the tunnel's?
func (k *kernel) catchesItself(name string) (apply.Rule, bool) {
	return k.catches(name, k.links[name].device.FwMark)
}

// catches looks packets of a mark up.
func (k *kernel) catches(name string, mark uint32) (apply.Rule, bool) {
	rules := slices.Clone(k.rules)
	slices.SortStableFunc(rules, func(a, b apply.Rule) int { return a.Priority - b.Priority })
	for _, r := range rules {
		switch {
		case r.Mark.In(mark):
			return r, false // main has the way out
		case r.NotMark.Value != 0 && !r.NotMark.In(mark) && k.hasDefault(name, r.Table):
			return r, true
		}
	}
	return apply.Rule{}, false
}

func (k *kernel) hasDefault(link string, table int) bool {
	return slices.ContainsFunc(k.routes, func(r route) bool {
		return r.link == link && r.Table == table && r.Prefix.Bits() == 0
	})
}
