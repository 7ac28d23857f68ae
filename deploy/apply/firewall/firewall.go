// Package firewall tells what a host's packet filter is certain to drop.
//
// A filter is read as the kernel has it, nftables' rules or iptables' of either
// kind, and a packet is walked through it of which some things are known and others
// are not. Where a rule asks for what is not known, both ways are gone: only what
// is dropped on all of them is dropped for certain, and nothing else is claimed.
//
// The package is pure: package linux reads the rules.
package firewall

import (
	"cmp"
	"slices"
)

// A Family is that of a table.
type Family byte

// The families of tables that see packets of IP (NFPROTO_INET, _IPV4, _IPV6).
const (
	INet Family = 1
	IPv4 Family = 2
	IPv6 Family = 10
)

// String is the family as nft(8) spells it.
func (f Family) String() string {
	switch f {
	case IPv4:
		return "ip"
	case IPv6:
		return "ip6"
	}
	return "inet"
}

// A Hook is where a base chain looks at packets (enum nf_inet_hooks).
type Hook int

// The hooks, and none: a chain that others jump to.
const (
	NoHook      Hook = -1
	Prerouting  Hook = 0
	Input       Hook = 1
	Forward     Hook = 2
	Output      Hook = 3
	Postrouting Hook = 4
)

// A Ruleset is a host's packet filter.
type Ruleset struct {
	Chains   []Chain
	Sets     []Set
	IPTables bool // the host has iptables(8), the one that speaks nftables
}

// A Chain is an ordered list of rules. Legacy ones are those of iptables' own
// tables in the kernel, which nftables does not know.
type Chain struct {
	Family   Family
	Table    string
	Name     string
	Legacy   bool
	Owned    bool // only the program that made the table may change it
	Hook     Hook
	Priority int
	Drops    bool // its policy is to drop
	Rules    []Rule
}

// A Rule is what nftables makes of it: expressions that load into registers,
// compare what is there, and decide.
type Rule []Expr

// A Set is one that rules look into. It may not be read: then anything may be in
// it.
type Set struct {
	Family   Family
	Table    string
	Name     string
	Unread   bool
	Elements []Element // in any order; of ranges the first and the one after the last
}

// An Element is a key of a set, with what it maps to.
type Element struct {
	Key     []byte
	End     bool    // the first key behind a range
	Ranges  bool    // the set is one of ranges
	KeyEnd  []byte  // the last key of a range of several fields
	Verdict Verdict // where it decides
	Decides bool
}

// An Outcome is what may become of a packet, any of them.
type outcome byte

const (
	accepted outcome = 1 << iota
	dropped
	falls  // on to the next rule
	leaves // the chain, for the one that jumped here
)

// A Drop is where a packet is dropped for certain.
type Drop struct {
	Chain  *Chain // the base chain
	Policy bool   // no rule does it: the chain's policy
}

// Drops returns where p is dropped on its way through hooks, or nil where it may
// get through.
func (r *Ruleset) Drops(p Packet, hooks ...Hook) *Drop {
	w := &walk{rules: r, packet: p, known: map[string]outcome{}}
	untracks := r.untracks()
	for _, hook := range hooks {
		w.hook = hook
		for _, c := range r.bases(p, hook) {
			clear(w.known)
			w.tracked = !untracks && (hook != Prerouting || c.Priority > tracking)
			got := w.chain(c, 0)
			policy := got&leaves != 0 && got&dropped == 0
			if got&leaves != 0 {
				got = got&^leaves | map[bool]outcome{true: dropped, false: accepted}[c.Drops]
			}
			if got == dropped {
				return &Drop{c, policy}
			}
		}
	}
	return nil
}

// bases are the base chains that see p, in their order.
func (r *Ruleset) bases(p Packet, hook Hook) []*Chain {
	var list []*Chain
	for i := range r.Chains {
		if c := &r.Chains[i]; c.Hook == hook && (c.Family == INet || c.Family == p.Family) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b *Chain) int { return cmp.Compare(a.Priority, b.Priority) })
	return list
}

// find returns the chain that a rule of c names.
func (r *Ruleset) find(c *Chain, name string) *Chain {
	for i := range r.Chains {
		if d := &r.Chains[i]; d.Name == name && d.Table == c.Table && d.Family == c.Family && d.Legacy == c.Legacy {
			return d
		}
	}
	return nil
}

// Has reports whether the table of c has another chain of this name.
func (r *Ruleset) Has(c *Chain, name string) bool { return r.find(c, name) != nil }

func (r *Ruleset) set(c *Chain, name string) *Set {
	for i := range r.Sets {
		if s := &r.Sets[i]; s.Name == name && s.Table == c.Table && s.Family == c.Family {
			return s
		}
	}
	return nil
}

// untracks reports whether some rule keeps connection tracking from packets.
func (r *Ruleset) untracks() bool {
	for i := range r.Chains {
		for _, rule := range r.Chains[i].Rules {
			if slices.ContainsFunc(rule, func(e Expr) bool { _, is := e.(Untrack); return is }) {
				return true
			}
		}
	}
	return false
}

// A walk is one packet's way through the rules.
type walk struct {
	rules  *Ruleset
	packet Packet
	hook   Hook
	known  map[string]outcome // of chains that were walked already

	tracked bool // the packet's connection is known by now
}

// tracking is when connections are looked up (NF_IP_PRI_CONNTRACK).
const tracking = -200

// deepest is how far jumps nest (NFT_JUMP_STACK_SIZE).
const deepest = 16

func (w *walk) chain(c *Chain, depth int) outcome {
	if got, ok := w.known[c.Name]; ok {
		return got
	}
	if depth > deepest {
		return accepted | dropped | leaves
	}
	var got outcome
	for _, rule := range c.Rules {
		matches, verdicts := w.rule(c, rule)
		if matches == no {
			continue
		}
		var of outcome
		for _, v := range verdicts {
			of |= w.verdict(c, v, depth)
		}
		got |= of &^ falls
		if matches == yes && of&falls == 0 {
			w.known[c.Name] = got
			return got
		}
	}
	w.known[c.Name] = got | leaves
	return got | leaves
}

func (w *walk) verdict(c *Chain, v Verdict, depth int) outcome {
	switch v.Code {
	case VerdictAccept:
		return accepted
	case VerdictDrop:
		return dropped
	case VerdictContinue, verdictBreak:
		return falls
	case VerdictReturn:
		return leaves
	case VerdictJump, VerdictGoto:
		to := w.rules.find(c, v.Chain)
		if to == nil {
			break
		}
		got := w.chain(to, depth+1)
		if v.Code == VerdictJump && got&leaves != 0 {
			got = got&^leaves | falls
		}
		return got
	}
	return accepted | dropped | falls // a queue, or one that is not known
}
