package labtest

import (
	"fmt"
	"os"

	crypt "filippo.io/age"
	"filippo.io/age/plugin"
)

// TouchPlugin is age-plugin-touch, in place of a hardware key: it asks for one touch in
// each process, and writes a line to $TOUCHES for it. Without arguments it makes a key: the
// recipient in recipient.txt, the identity in touch.txt.
func TouchPlugin() {
	p, err := plugin.New("touch")
	if err != nil {
		panic(err)
	}
	if len(os.Args) == 1 {
		makeTouchKey()
		return
	}
	p.HandleRecipient(func(data []byte) (crypt.Recipient, error) { return crypt.ParseX25519Recipient(string(data)) })
	touched := false
	p.HandleIdentity(func(data []byte) (crypt.Identity, error) {
		id, err := crypt.ParseX25519Identity(string(data))
		return unwrapFunc(func(s []*crypt.Stanza) ([]byte, error) {
			if !touched {
				touched = true
				f, err := os.OpenFile(os.Getenv("TOUCHES"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
				if err != nil {
					return nil, err
				}
				fmt.Fprintln(f, "touch")
				f.Close()
				p.DisplayMessage("please touch the key")
			}
			return id.Unwrap(s)
		}), err
	})
	os.Exit(p.Main())
}

type unwrapFunc func([]*crypt.Stanza) ([]byte, error)

func (f unwrapFunc) Unwrap(s []*crypt.Stanza) ([]byte, error) { return f(s) }

func makeTouchKey() {
	x, err := crypt.GenerateX25519Identity()
	if err != nil {
		panic(err)
	}
	recipient := plugin.EncodeRecipient("touch", []byte(x.Recipient().String()))
	identity := plugin.EncodeIdentity("touch", []byte(x.String()))
	for name, line := range map[string]string{"recipient.txt": recipient, "touch.txt": identity} {
		if err := os.WriteFile(name, []byte(line+"\n"), 0o600); err != nil {
			panic(err)
		}
	}
}
