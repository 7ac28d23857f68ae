package nft

import (
	"cmp"
	"slices"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nlenc"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/firewall"
)

// Types of set elements. Those of nft(8) are stored by the kernel, which does not interpret
// them; that of verdicts is the kernel's own.
const (
	typeIPv4    = 7
	typeIPv6    = 8
	typeVerdict = 0xffffff00 // NFT_DATA_VERDICT
)

// sets reads the sets in which the chains look things up.
func (r reader) sets(chains []firewall.Chain) ([]firewall.Set, error) {
	wanted := map[nftTable]map[string]bool{}
	for _, c := range chains {
		t := nftTable{c.Family, c.Table}
		for _, rule := range c.Rules {
			for _, e := range rule {
				if l, ok := e.(firewall.Lookup); ok {
					if wanted[t] == nil {
						wanted[t] = map[string]bool{}
					}
					wanted[t][l.Set] = true
				}
			}
		}
	}
	var sets []firewall.Set
	for t, names := range wanted {
		err := r.dump(t, unix.NFT_MSG_GETSET, []netlink.Attribute{{Type: unix.NFTA_SET_TABLE, Data: nlenc.Bytes(t.name)}},
			func(_ byte, data []byte) error {
				a := attributesOf(data)
				if !names[nlenc.String(a[unix.NFTA_SET_NAME])] {
					return nil
				}
				set, err := r.set(t, a)
				sets = append(sets, set)
				return err
			})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(sets, func(a, b firewall.Set) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Name, b.Name))
	})
	return sets, nil
}

// set reads a set. It leaves out the elements of sets of addresses, which may be a
// million and say nothing about which packets match, of sets whose elements come and go by
// themselves, and of maps to data other than verdicts.
func (r reader) set(t nftTable, a nftAttributes) (firewall.Set, error) {
	set := firewall.Set{Family: t.family, Table: t.name, Name: nlenc.String(a[unix.NFTA_SET_NAME])}
	flags, key, data := a.number(unix.NFTA_SET_FLAGS), a.number(unix.NFTA_SET_KEY_TYPE), a.number(unix.NFTA_SET_DATA_TYPE)
	maps := flags&unix.NFT_SET_MAP != 0
	if flags&(unix.NFT_SET_TIMEOUT|unix.NFT_SET_EVAL) != 0 || !maps && (key == typeIPv4 || key == typeIPv6) || maps &&
		data != typeVerdict {
		set.Unread = true
		return set, nil
	}
	about := []netlink.Attribute{
		{Type: unix.NFTA_SET_ELEM_LIST_TABLE, Data: nlenc.Bytes(t.name)},
		{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: nlenc.Bytes(set.Name)},
	}
	err := r.dump(t, unix.NFT_MSG_GETSETELEM, about, func(_ byte, data []byte) error {
		list, err := netlink.UnmarshalAttributes(attributesOf(data)[unix.NFTA_SET_ELEM_LIST_ELEMENTS])
		for _, x := range list {
			set.Elements = append(set.Elements, elementOf(attributesOf(x.Data), flags&unix.NFT_SET_INTERVAL != 0))
		}
		return err
	})
	return set, err
}

func elementOf(a nftAttributes, ranges bool) firewall.Element {
	const keyEnd = 10 // NFTA_SET_ELEM_KEY_END
	e := firewall.Element{
		Key:    a.value(unix.NFTA_SET_ELEM_KEY),
		KeyEnd: a.value(keyEnd),
		End:    a.number(unix.NFTA_SET_ELEM_FLAGS)&unix.NFT_SET_ELEM_INTERVAL_END != 0,
		Ranges: ranges,
	}
	if v, ok := a.verdict(unix.NFTA_SET_ELEM_DATA); ok {
		e.Verdict = v
		e.Decides = true
	}
	return e
}
