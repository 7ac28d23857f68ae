package apply

import (
	"bytes"

	"wgkeys/keyring"
)

// Rekey makes anew the key of a peer that the journal knows by its old one: the
// peer that apply made is the same, and stays ours. Where the journal does not
// know the old key it does nothing.
func (j *Journal) Rekey(old, anew keyring.PublicKey) error {
	from, to := resourceOfPeer(old), resourceOfPeer(anew)
	e, ok := j.Entries[from]
	if !ok || old == anew {
		return nil
	}
	var b bytes.Buffer
	if !has(j.Entries, to) { // else it was touched under its new key already
		j.write(&b, line{to, e})
	}
	delete(j.Entries, from)
	b.WriteString("-\t" + from + "\n")
	j.Order = live(j.Order, j.Entries)
	return j.append(b.Bytes())
}
