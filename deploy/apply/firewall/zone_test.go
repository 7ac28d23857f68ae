package firewall

import "testing"

// TestZone: the zone of an interface is that whose chains its packets come to last, with
// the names that firewalld's backends and versions give them.
func TestZone(t *testing.T) {
	jump := func(chain string) Rule { return Rule{Verdict{Code: VerdictJump, Chain: chain}} }
	source := source("10.9.0.0/24")
	for _, c := range []struct {
		name, table, base string
		chains            map[string][]Rule
	}{
		{"nftables before 2", "firewalld", "filter_INPUT", map[string][]Rule{
			"filter_INPUT": {jump("filter_INPUT_ZONES")},
			"filter_INPUT_ZONES": {source.then(VerdictGoto, "filter_IN_work"),
				in("wg0").then(VerdictGoto, "filter_IN_home"), jump("filter_IN_public")},
			"filter_IN_home":  {jump("filter_IN_home_allow"), jump("filter_IN_policy_all")},
			"filter_FWD_home": nil, "filter_IN_home_allow": nil,
			"filter_IN_public":  {jump("filter_IN_public_allow")},
			"filter_FWD_public": nil, "filter_IN_public_allow": nil, "filter_IN_public_post": nil,
			"filter_IN_policy_all": {jump("filter_IN_policy_all_allow")}, "filter_IN_policy_all_allow": nil,
			"filter_IN_work": nil, "filter_FWD_work": nil, "filter_IN_work_allow": nil}},
		{"nftables since 2", "firewalld", "filter_INPUT", map[string][]Rule{
			"filter_INPUT": {jump("filter_IN_policy_all"), in("wg0").then(VerdictJump, "filter_IN_home"),
				in("wg0").then(VerdictDrop), jump("filter_IN_public")},
			"filter_IN_home":  nil,
			"filter_FWD_home": nil, "filter_IN_home_allow": nil,
			"filter_IN_public": nil, "filter_FWD_public": nil, "filter_IN_public_allow": nil,
			"filter_IN_policy_all": {jump("filter_IN_policy_all_allow")}, "filter_IN_policy_all_allow": nil}},
		{"iptables before 1", "filter", "INPUT", map[string][]Rule{
			"INPUT":   {jump("INPUT_ZONES")},
			"IN_home": {jump("IN_home_allow"), jump("IN_all")}, "FWDI_home": nil, "IN_home_allow": nil,
			"INPUT_ZONES": {in("wg0").then(VerdictGoto, "IN_home"), jump("IN_public")},
			"IN_public":   {jump("IN_public_allow"), jump("IN_public_post")}, "FWDI_public": nil, "FWDI_public_post": nil,
			"IN_public_allow": nil, "IN_public_post": nil, "IN_all": {jump("IN_all_allow")}, "IN_all_allow": nil}},
	} {
		r := &Ruleset{Chains: []Chain{{Family: INet, Table: c.table, Name: "other", Hook: Forward}}}
		for name, rules := range c.chains {
			hook := NoHook
			if name == c.base {
				hook = Input
			}
			r.Chains = append(r.Chains, Chain{Family: INet, Table: c.table, Name: name, Hook: hook, Rules: rules})
		}
		for link, want := range map[string]string{"wg0": "home", "eth0": "public", "-": "public"} {
			if got := r.Zone(&r.Chains[0], Link{link, 3}); got != want {
				t.Errorf("%s: %s is in %q, want %q", c.name, link, got, want)
			}
		}
	}
	r := ruleset(true, nil, nil)
	if got := r.Zone(&r.Chains[0], Link{"wg0", 3}); got != "" {
		t.Errorf("without firewalld it is in %q", got)
	}
}
