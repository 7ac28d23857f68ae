package firewall

import "bytes"

// lookup reports whether the content of a register is in a set, and to which verdicts it
// may be mapped.
func (w *walk) lookup(c *Chain, e Lookup, regs *registers) (truth, []Verdict) {
	set := w.rules.set(c, e.Set)
	if set == nil || set.Unread {
		if e.Map && e.Dest == 0 {
			return maybe, []Verdict{{Code: VerdictUnknown}}
		}
		regs.put(e.Dest, unknown(16))
		return maybe, nil
	}
	t := no
	var found []Verdict
	for _, el := range set.Elements {
		in := set.holds(el, regs.get(e.Register, len(el.Key)))
		if in == no {
			continue
		}
		t = max(t, in)
		if el.Decides {
			found = append(found, el.Verdict)
		}
	}
	if e.Not {
		t = t.not()
	}
	return t, found
}

// holds reports whether an element, or the range that it begins, contains key.
func (s *Set) holds(el Element, key bits) truth {
	switch {
	case el.End:
		return no
	case el.KeyEnd != nil:
		return maybe // of several fields, each a range
	case !el.Ranges:
		return key.equals(el.Key)
	case !key.certain():
		return maybe
	}
	end := s.end(el)
	return of(bytes.Compare(key.value, el.Key) >= 0 && (end == nil || bytes.Compare(key.value, end) < 0))
}

// end is the first key after the range that begins with el, or nil if the range has no end.
// nft(8) leaves no overlaps.
func (s *Set) end(el Element) (end []byte) {
	for _, other := range s.Elements {
		if other.End && bytes.Compare(other.Key, el.Key) > 0 && (end == nil || bytes.Compare(other.Key, end) < 0) {
			end = other.Key
		}
	}
	return end
}
