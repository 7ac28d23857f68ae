package firewall

import "bytes"

// A truth is whether a packet of which not all is known matches.
type truth byte

const (
	no truth = iota
	maybe
	yes
)

func of(b bool) truth {
	if b {
		return yes
	}
	return no
}

func (t truth) not() truth { return yes - t }

// bits are bytes of which some bits may not be known.
type bits struct{ value, known []byte }

func unknown(n int) bits { return bits{make([]byte, n), make([]byte, n)} }

func exactly(value []byte) bits { return bits{value, bytes.Repeat([]byte{0xff}, len(value))} }

// masked is value & mask ^ xor: what the mask leaves out is known.
func (b bits) masked(mask, xor []byte) bits {
	out := unknown(len(mask))
	for i := range mask {
		out.known[i] = b.known[i] | ^mask[i]
		out.value[i] = b.value[i] & mask[i]
		if i < len(xor) {
			out.value[i] ^= xor[i]
		}
	}
	return out
}

// equals compares with data.
func (b bits) equals(data []byte) truth {
	t := yes
	for i := range data {
		if (b.value[i]^data[i])&b.known[i] != 0 {
			return no
		}
		if b.known[i] != 0xff {
			t = maybe
		}
	}
	return t
}

func (b bits) certain() bool {
	for _, k := range b.known {
		if k != 0xff {
			return false
		}
	}
	return true
}

// compare is NFT_CMP_EQ, _NEQ, _LT, _LTE, _GT, _GTE.
func (b bits) compare(op uint32, data []byte) truth {
	switch op {
	case 0:
		return b.equals(data)
	case 1:
		return b.equals(data).not()
	}
	if !b.certain() || op > 5 {
		return maybe
	}
	c := bytes.Compare(b.value, data)
	return of(op == 2 && c < 0 || op == 3 && c <= 0 || op == 4 && c > 0 || op == 5 && c >= 0)
}

func (b bits) within(from, to []byte) truth {
	return min(b.compare(5, from), b.compare(3, to))
}

// registers are those of nftables: 64 bytes, which have two sets of names.
type registers struct{ value, known [64]byte }

// place is where a register begins: 1 to 4 are 16 bytes each, 8 to 23 the same
// space by 4 (nft_parse_register).
func place(register uint32) int {
	switch {
	case register >= 1 && register <= 4:
		return int(register-1) * 16
	case register >= 8 && register <= 23:
		return int(register-8) * 4
	}
	return 64
}

func (r *registers) put(register uint32, b bits) {
	at := place(register)
	copy(r.value[at:], b.value)
	copy(r.known[at:], b.known)
	for i := at + len(b.value); i < 64 && i%4 != 0; i++ { // nft_reg_store8 and its like fill up with 0
		r.value[i], r.known[i] = 0, 0xff
	}
}

func (r *registers) get(register uint32, n int) bits {
	b := unknown(n)
	if at := place(register); at+n <= 64 {
		copy(b.value, r.value[at:at+n])
		copy(b.known, r.known[at:at+n])
	}
	return b
}
