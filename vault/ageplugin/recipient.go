package ageplugin

import (
	"crypto/rand"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"wgkeys/vault/ageplugin/stanza"
)

// A Recipient encrypts with the program of a plugin, in recipient-v1.
type Recipient struct {
	client     Client
	name, line string
}

// Recipient parses a line of a recipients file. It starts no program.
func (c Client) Recipient(line string) (*Recipient, error) {
	name, _, err := plugin.ParseRecipient(line)
	return &Recipient{c, name, line}, err
}

// Labels returns the labels of r, which only its plugin knows: the plugin is asked to wrap
// a file key that is not used.
func (r *Recipient) Labels() ([]string, error) {
	key := make([]byte, fileKeySize)
	rand.Read(key)
	_, labels, err := r.WrapWithLabels(key)
	return labels, err
}

// Wrap implements [age.Recipient].
func (r *Recipient) Wrap(key []byte) ([]*age.Stanza, error) {
	stanzas, _, err := r.WrapWithLabels(key)
	return stanzas, err
}

// WrapWithLabels implements [age.RecipientWithLabels].
func (r *Recipient) WrapWithLabels(key []byte) ([]*age.Stanza, []string, error) {
	w := &wrapping{session: session{Client: r.client, name: r.name, ui: r.client.clientUI(),
		try: "age -r " + r.line + " </dev/null >/dev/null tries it alone"}}
	w.heard = w.wraps
	err := w.talk("recipient-v1", func() error {
		for _, s := range []*age.Stanza{
			{Type: "add-recipient", Args: []string{r.line}},
			{Type: "wrap-file-key", Body: key},
			{Type: "extension-labels"},
			{Type: "done"},
		} {
			if err := stanza.Write(w.in, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && len(w.stanzas) == 0 {
		err = w.fault(stanza.ErrSyntax)
	}
	return w.stanzas, w.labels, err
}

type wrapping struct {
	session
	stanzas []*age.Stanza
	labels  []string
}

// maxWrapped is a bound for the stanzas of a recipient.
const maxWrapped = 64

// wraps handles the commands that only recipient-v1 has.
func (w *wrapping) wraps(said *age.Stanza) (*age.Stanza, error) {
	switch said.Type {
	case "recipient-stanza":
		if len(said.Args) < 2 || said.Args[0] != "0" || len(w.stanzas) == maxWrapped {
			return nil, stanza.ErrSyntax
		}
		w.stanzas = append(w.stanzas, &age.Stanza{Type: said.Args[1], Args: said.Args[2:], Body: said.Body})
	case "labels":
		if w.labels != nil {
			return nil, stanza.ErrSyntax
		}
		w.labels = said.Args
	case "error":
		return nil, messageOf(said)
	default:
		return stanzaUnsupported, nil
	}
	return stanzaOK, nil
}
