package vault

import (
	"fmt"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

// A pluginRecipient encrypts with the program of an age plugin, in recipient-v1 of
// C2SP's age-plugin.md. Package age's client of it cannot be interrupted, and waits for
// a program that says nothing for ever.
type pluginRecipient struct {
	name, line string
	asker      Asker
}

func newPluginRecipient(line string, asker Asker) (*pluginRecipient, error) {
	name, _, err := plugin.ParseRecipient(line)
	return &pluginRecipient{name, line, asker}, err
}

// Wrap implements [age.Recipient].
func (r *pluginRecipient) Wrap(key []byte) ([]*age.Stanza, error) {
	stanzas, _, err := r.WrapWithLabels(key)
	return stanzas, err
}

// WrapWithLabels implements [age.RecipientWithLabels].
func (r *pluginRecipient) WrapWithLabels(key []byte) ([]*age.Stanza, []string, error) {
	w := &wrapping{session: session{name: r.name, ui: clientUI(r.asker), ended: ended(r.asker)}}
	w.heard = w.wraps
	err := w.talk("recipient-v1", func() error {
		for _, s := range []*age.Stanza{
			{Type: "add-recipient", Args: []string{r.line}},
			{Type: "wrap-file-key", Body: key},
			{Type: "extension-labels"},
			{Type: "done"},
		} {
			if err := writeStanza(w.in, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && len(w.stanzas) == 0 {
		err = w.fault(errStanza)
	}
	return w.stanzas, w.labels, err
}

type wrapping struct {
	session
	stanzas []*age.Stanza
	labels  []string
}

// maxWrapped is more stanzas than a recipient has.
const maxWrapped = 64

// wraps hears what only recipient-v1 has.
func (w *wrapping) wraps(said *age.Stanza) (*age.Stanza, error) {
	switch said.Type {
	case "recipient-stanza":
		if len(said.Args) < 2 || said.Args[0] != "0" || len(w.stanzas) == maxWrapped {
			return nil, errStanza
		}
		w.stanzas = append(w.stanzas, &age.Stanza{Type: said.Args[1], Args: said.Args[2:], Body: said.Body})
	case "labels":
		if w.labels != nil {
			return nil, errStanza
		}
		w.labels = said.Args
	case "error":
		return nil, fmt.Errorf("%.500s", said.Body)
	default:
		return stanzaUnsupported, nil
	}
	return stanzaOK, nil
}
