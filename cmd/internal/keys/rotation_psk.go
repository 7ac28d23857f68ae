package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/deploy/push"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// A pskRotation replaces the preshared key of two hosts.
type pskRotation struct {
	maker  *Maker
	o      *RotateOptions
	tunnel *tunnel.Tunnel
	hosts  [2]string
	byHand bool // nobody logs in to the second: it gets the key by hand
	past   *repo.KeyHistory
	pair   *rotate.Pair
	made   []string
}

// reach returns how either end is reached, and where its key file is.
func (x *pskRotation) reach() error {
	x.pair = &rotate.Pair{Tunnel: x.tunnel.Name, Commands: x.tunnel.Commands,
		Report: func(text string) { x.maker.Report.Say("%s %s: %s", x.hosts[0], x.hosts[1], text) }}
	for i, host := range x.hosts {
		files, err := x.tunnel.KeyFiles(host)
		if err != nil {
			return err
		}
		if x.pair.Ends[i], err = x.maker.Hosts.Participant(x.tunnel, host); err != nil {
			return err
		}
		x.pair.Files[i] = files[x.file(i)]
	}
	return nil
}

func (x *pskRotation) file(i int) string {
	return vault.PSKFile(x.tunnel.Name, x.hosts[1-i])
}

// run replaces the preshared key. The next one is in the folder of the first host before
// any host has it, and in the folder of the second when both use it. If the command is
// killed in between, the vault has both keys, and the same command makes a third one. A key
// that is in both folders already, and not in use, is brought to the hosts.
func (x *pskRotation) run(ctx context.Context) error {
	if x.o.DryRun {
		return nil
	}
	if x.byHand {
		return x.runByHand(ctx)
	}
	psk, begun, err := x.next(ctx)
	if err != nil {
		return err
	}
	if err := x.install(ctx, psk); err != nil {
		return err
	}
	if err := x.pair.Replace(ctx, psk.Fingerprint()); err != nil {
		return err
	}
	if !begun {
		if err := x.seal(1, psk); err != nil {
			return err
		}
	}
	x.finished()
	return nil
}

// finished reports that the next key is the current one.
func (x *pskRotation) finished() {
	line := fmt.Sprintf("%s %s preshared key with %s", x.hosts[0], x.tunnel.Name, x.hosts[1])
	x.made = append(x.made, line)
	x.o.Done(rotate.Event{Host: x.hosts[0], Tunnel: x.tunnel.Name, Phase: "finished", Text: "preshared key with " +
		x.hosts[1]}, line)
}

// next returns the next preshared key, in the folder of the first host. An earlier run had
// begun if the vault has a key in both folders that an end does not use.
func (x *pskRotation) next(ctx context.Context) (psk keyring.PresharedKey, begun bool, err error) {
	inUse, err := x.pair.Fingerprints(ctx)
	if err != nil {
		return psk, false, fault.Wrap(err, "did not replace the preshared key of", x.pair.String(),
			x.tunnel.Commands.Run("rotate --psk", x.hosts[0]))
	}
	mine, other, differ := x.maker.Repo.PSK(x.tunnel.Name, x.hosts[0], x.hosts[1])
	for i := range inUse {
		if err := x.knows(ctx, i, inUse[i], mine, other); err != nil {
			return psk, false, err
		}
	}
	inBoth := differ == nil && mine.Err == nil && other.Err == nil
	begun = inBoth && slices.ContainsFunc(inUse[:], func(m string) bool { return m != "" && m != mine.PSK })
	if begun {
		x.maker.Report.Say("%s, %s: the vault has their next preshared key already; this finishes an earlier rotation",
			x.hosts[0], x.hosts[1])
		psk, err = x.maker.Repo.Vault.OpenPSK(x.hosts[0], x.file(0), mine.PSK, x.maker.IDs)
		return psk, begun, err
	}
	if psk, err = keyring.GeneratePresharedKey(); err != nil {
		return psk, false, err
	}
	return psk, false, x.seal(0, psk)
}

// knows refuses if an end has a preshared key that this clone does not know: the clone is
// behind.
func (x *pskRotation) knows(ctx context.Context, i int, has string, mine, other repo.PSKFile) error {
	if x.o.Unknown || has == "" || has == mine.PSK || has == other.PSK {
		return nil
	}
	return x.past.NewerThere(ctx, x.tunnel.Name, x.hosts[1-i], mine.PSK, has,
		repo.Command{Verb: "rotate --psk", Host: x.hosts[i], In: x.tunnel.Commands})
}

// seal writes a preshared key to the folder of one host.
func (x *pskRotation) seal(i int, psk keyring.PresharedKey) error {
	host := x.hosts[i]
	if err := x.maker.Repo.Sweep(host); err != nil {
		return err
	}
	x.maker.Repo.Changes.Touch(x.maker.Repo.Vault.Path(host, x.file(i)))
	return x.maker.Step("seal the preshared key",
		func() error { return x.maker.Repo.Vault.ReplacePSK(host, x.file(i), psk, time.Now()) })
}

// install brings it to both ends, which go on using the old one.
func (x *pskRotation) install(ctx context.Context, psk keyring.PresharedKey) error {
	var errs []error
	for i := range x.hosts {
		errs = append(errs, x.installOn(ctx, i, psk))
	}
	return errors.Join(errs...)
}

func (x *pskRotation) installOn(ctx context.Context, i int, psk keyring.PresharedKey) error {
	host := x.hosts[i]
	file := push.File{Path: x.pair.Files[i], Want: psk.Fingerprint(), Secret: func() ([]byte, error) {
		return psk.File(), nil
	}}
	err := x.maker.Step("push the preshared key", func() error {
		_, err := push.Host(ctx, x.maker.Hosts.Runner(x.tunnel, host), host, []push.File{file})
		return err
	})
	if err != nil {
		finishes := host
		if x.byHand {
			finishes = x.hosts[1]
		}
		return fault.WrapHost(err, "the preshared key with "+x.hosts[1-i]+" was not replaced on host", host,
			x.tunnel.Commands.Run("rotate --psk", finishes)+" finishes it")
	}
	return nil
}

// runByHand replaces the preshared key of a host with an unmanaged one: in both folders of
// the vault and on the host. The other end gets it by hand, and until then no handshake of
// the two succeeds. After an interruption the same command begins again, with another key.
func (x *pskRotation) runByHand(ctx context.Context) error {
	peer, err := x.maker.Repo.Ring.Get(x.hosts[1], x.tunnel.Name)
	if err != nil {
		return err
	}
	mine := x.maker.Repo.PSKFile(x.tunnel.Name, x.hosts[0], x.hosts[1])
	other := x.maker.Repo.PSKFile(x.tunnel.Name, x.hosts[1], x.hosts[0])
	has, err := x.pair.Ends[0].PSK(ctx, x.tunnel.Name, peer, "", "")
	if err != nil {
		return err
	}
	if err := x.knows(ctx, 0, has, mine, other); err != nil {
		return err
	}
	psk, err := keyring.GeneratePresharedKey()
	if err != nil {
		return err
	}
	for i := range x.hosts {
		if err := x.seal(i, psk); err != nil {
			return err
		}
	}
	if err := x.installOn(ctx, 0, psk); err != nil {
		return err
	}
	if _, err := x.pair.Ends[0].PSK(ctx, x.tunnel.Name, peer, x.pair.Files[0], psk.Fingerprint()); err != nil {
		return err
	}
	x.finished()
	return nil
}
