// Package firewall tells what a host's packet filter is certain to drop.
//
// A filter is read as the kernel has it, nftables' rules or iptables' of either
// kind, and a packet is walked through it of which some things are known and others
// are not. Where a rule asks for what is not known, both ways are gone: only what
// is dropped on all of them is dropped for certain, and nothing else is claimed.
//
// The package is pure: packages nft and xtables read the rules.
package firewall

import (
	"cmp"
	"net/netip"
	"slices"
)

// A Family is that of a table.
type Family byte

// The families of tables that see packets of IP (NFPROTO_INET, _IPV4, _NETDEV, _IPV6).
const (
	INet   Family = 1
	IPv4   Family = 2
	NetDev Family = 5 // those of some interfaces
	IPv6   Family = 10
)

// String is the family as nft(8) spells it.
func (f Family) String() string {
	switch f {
	case IPv4:
		return "ip"
	case IPv6:
		return "ip6"
	case NetDev:
		return "netdev"
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
	Ingress     Hook = 5 // of an interface, before all others (NF_INET_INGRESS, NF_NETDEV_INGRESS)
	Egress      Hook = 6 // of an interface, after all others (NF_NETDEV_EGRESS, which is 1)
)

// A Ruleset is a host's packet filter.
type Ruleset struct {
	Chains   []Chain
	Sets     []Set
	IPTables bool // the host has iptables(8), the one that speaks nftables

	Local     []netip.Addr     // the host's own addresses
	Links     map[int]Property // of its links by number, where a rule asks for any; 0: of one that is not there yet
	SourceNAT bool             // something may have packets leave under another address, or port

	index *index // when first asked for: there may be ten thousand chains
}

// An index is what is asked of all chains.
type index struct {
	chains   map[chainName]*Chain
	untracks bool            // a rule keeps connection tracking from packets
	tracks   map[Family]bool // a rule of these asks for it

	connMarks bool // a rule marks connections
}

type chainName struct {
	family      Family
	table, name string
	legacy      bool
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
	Devices  []string // of Ingress and Egress: whose packets it sees
	Priority int
	NAT      bool // it translates addresses, and sees the first packet of a connection only
	Routes   bool // a packet whose mark it changes is routed again
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

// An outcome is what may become of a packet: one of these, or any of several.
type outcome byte

const (
	accepted outcome = 1 << iota
	dropped
	falls  // on to the next rule
	leaves // the chain, for the one that jumped here
	moved  // to another port, or another host
)

// A Drop is where a packet is dropped for certain, or sent elsewhere.
type Drop struct {
	Packet Packet
	Chain  *Chain // the base chain
	Policy bool   // no rule does it: the chain's policy
	Moved  bool   // it is not dropped: its destination is translated

	Remarked bool // it is not dropped: it gets another mark, and goes another way
}

// Drops returns where p is dropped on its way through hooks, or nil where it may
// get through.
func (r *Ruleset) Drops(p Packet, hooks ...Hook) *Drop {
	w := &walk{known: map[string]outcome{},
		packetState: packetState{rules: r, packet: p, mark: p.firstMark(), connMark: r.firstConnMark(p)}}
	index := r.indexed()
	untracks, tracks := index.untracks, index.tracks[INet] || index.tracks[p.Family]
	for _, hook := range hooks {
		w.hook = hook
		for _, c := range r.bases(p, hook) {
			if c.NAT && (untracks || !tracks) {
				continue
			}
			clear(w.known)
			w.chainFamily = c.Family
			w.tracked = !untracks && trackedAt(hook, c.Priority)
			w.renamed = r.SourceNAT && (hook == Egress || hook == Postrouting && c.Priority >= sourceNAT)
			if d := w.base(c); d != nil {
				d.Packet = p
				return d
			}
		}
	}
	return nil
}

// trackedAt reports whether the connection of a packet is looked up before a chain.
func trackedAt(hook Hook, priority int) bool {
	switch hook {
	case Ingress, Egress:
		return false
	case Prerouting, Output:
		return priority > tracking
	}
	return true
}

// base walks the packet through a base chain.
func (w *walk) base(c *Chain) *Drop {
	w.certain = true
	got := w.chain(c, 0)
	policy := got&leaves != 0 && got&dropped == 0
	if got&leaves != 0 {
		got = got&^leaves | map[bool]outcome{true: dropped, false: accepted}[c.Drops]
	}
	if got&^(dropped|moved) != 0 {
		return w.remarked(c)
	}
	return &Drop{Chain: c, Policy: policy, Moved: got&dropped == 0}
}

// bases are the base chains that see p, in their order.
func (r *Ruleset) bases(p Packet, hook Hook) []*Chain {
	var list []*Chain
	for i := range r.Chains {
		if c := &r.Chains[i]; c.Hook == hook && c.sees(p) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b *Chain) int { return cmp.Compare(a.Priority, b.Priority) })
	return list
}

// sees reports whether p comes to a base chain.
func (c *Chain) sees(p Packet) bool {
	switch {
	case c.Hook == Ingress:
		return slices.Contains(c.Devices, p.In.Name)
	case c.Hook == Egress:
		return slices.Contains(c.Devices, p.Out.Name)
	case c.NAT && p.Answer:
		return false
	}
	return c.Family == INet || c.Family == p.Family
}

// find returns the chain that a rule of c names.
func (r *Ruleset) find(c *Chain, name string) *Chain {
	return r.indexed().chains[chainName{c.Family, c.Table, name, c.Legacy}]
}

func (r *Ruleset) indexed() *index {
	if r.index != nil {
		return r.index
	}
	r.index = &index{chains: make(map[chainName]*Chain, len(r.Chains)), tracks: map[Family]bool{}}
	for i := range r.Chains {
		c := &r.Chains[i]
		r.index.chains[chainName{c.Family, c.Table, c.Name, c.Legacy}] = c
		for _, rule := range c.Rules {
			for _, e := range rule {
				_, untracks := e.(Untrack)
				r.index.connMarks = r.index.connMarks || marksConnection(e)
				r.index.untracks = r.index.untracks || untracks
				r.index.tracks[c.Family] = r.index.tracks[c.Family] || tracks(e)
			}
		}
	}
	return r.index
}

func marksConnection(e Expr) bool {
	c, ok := e.(ConnMark)
	return ok && !c.Restore
}

// tracks reports whether a rule asks for connection tracking. A chain that translates
// addresses sees no packet where none of the family does, whatever else it has
// (nft_nat_init; nf_nat_inet_fn without a conntrack).
func tracks(e Expr) bool {
	switch e := e.(type) {
	case Translation:
		return true
	case Load:
		return e.From == Conntrack
	case Match:
		return e.Name == "conntrack" || e.Name == "state"
	}
	return false
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

// A walk is one packet's way through the rules.
type walk struct {
	packetState
	known   map[string]outcome // of chains that were walked already
	entered []string           // those chains, in the order in which they were come to
	certain bool               // it comes to this rule on every way through the base chain
}

// tracking is when connections are looked up (NF_IP_PRI_CONNTRACK), and sourceNAT
// when sources are translated (NF_IP_PRI_NAT_SRC).
const (
	tracking  = -200
	sourceNAT = 100
)

// deepest is how far jumps nest (NFT_JUMP_STACK_SIZE).
const deepest = 16

func (w *walk) chain(c *Chain, depth int) outcome {
	if got, ok := w.known[c.Name]; ok {
		return got
	}
	if depth > deepest {
		return accepted | dropped | leaves
	}
	w.entered = append(w.entered, c.Name)
	var got outcome
	for _, rule := range c.Rules {
		matches, verdicts := w.rule(c, rule)
		if matches == no {
			continue
		}
		var of outcome
		w.certain = w.certain && matches == yes && len(verdicts) == 1
		for _, v := range verdicts {
			of |= w.verdict(c, v, depth)
		}
		got |= of &^ falls
		w.certain = w.certain && got == 0
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
	case verdictMoved:
		return moved
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
