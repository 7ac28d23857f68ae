package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/host"
	"wgkeys/deploy/host/daemon"
	"wgkeys/deploy/lab/labtest"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// headless is the first argument of the test binary where it stands for a program that
// applies by itself.
const headless = "headless"

func TestMain(m *testing.M) {
	daemon.Main(host.Processes()...)
	if len(os.Args) == 2 && os.Args[1] == headless {
		if err := applyByItself(context.Background()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	labtest.Main(m)
}

// TestHeadless: a program without a command line looks, applies, is reverted where it
// does not confirm, confirms, and takes all down again, and nobody prints but itself.
func TestHeadless(t *testing.T) {
	h, err := labtest.New(t, "wg").Host("basalt")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.Run(t.Context(), self, headless)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []string{
		"looked: steps, applied: []",
		"applied: done, kept as wanted, applied: [wg0]",
		"not confirmed: done, waits, undone",
		"confirmed: done, waits, stays",
		"nothing waits",
		"overtaken: done, waits",
		"down: done, applied: []",
		"nothing to take over: no interface has its name",
	}
	if got := strings.Split(strings.TrimSpace(out), "\n"); !slices.Equal(got, want) {
		t.Errorf("it did\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A program is one that applies by itself.
type program struct {
	context.Context
	events []string
}

func (p *program) options(o host.Options) host.Options {
	o.Report = func(e host.Event) { p.events = append(p.events, strings.TrimPrefix(fmt.Sprintf("%T", e), "host.")) }
	return o
}

func applyByItself(ctx context.Context) error {
	p := &program{Context: ctx}
	key := applytest.PrivateKey("basalt")
	v := &tunnel.View{Tunnel: "wg0", Host: "basalt", PublicKey: key.PublicKey(), PrivateKeyFile: "/etc/wireguard/wg0.key",
		Addresses: applytest.Prefixes("10.7.0.2/32"), Peers: []tunnel.Peer{
			{Name: "shale", PublicKey: applytest.PublicKey("shale"), AllowedIPs: applytest.Prefixes("10.7.0.1/32")}}}
	text := key.File()
	defer clear(text)
	if err := errors.Join(os.MkdirAll(filepath.Dir(v.PrivateKeyFile), 0o700),
		os.WriteFile(v.PrivateKeyFile, text, 0o600)); err != nil {
		return err
	}
	more := *v
	more.Peers = append(slices.Clone(v.Peers), tunnel.Peer{Name: "slate", PublicKey: applytest.PublicKey("slate"),
		AllowedIPs: applytest.Prefixes("10.7.0.3/32")})
	for _, act := range []func() error{
		func() error { return p.look(v) },
		func() error { return p.apply(v) },
		func() error { return p.leaveUnconfirmed(v, &more) },
		func() error { return p.confirm(&more) },
		func() error { return p.overtake(v, &more) },
		p.down,
		func() error { return p.takeOver(v) },
	} {
		if err := act(); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) look(v *tunnel.View) error {
	h, err := host.Look(p.options(host.Options{}))
	if err != nil {
		return err
	}
	defer h.Close()
	plan, err := h.Plan(p, host.View(v))
	if err != nil {
		return err
	}
	names, err := host.Applied()
	if len(plan.Steps) > 0 {
		fmt.Println("looked: steps, applied:", names)
	}
	return err
}

// do makes v true and returns whether that waits to be confirmed.
func (p *program) do(v *tunnel.View, o host.Options) (waits bool, err error) {
	p.events = nil
	waited := func(e string) bool { return e == "Waiting" } // for guards that have the lock of the host
	h, err := host.Begin(p, p.options(o))
	if err != nil {
		return false, err
	}
	defer h.Close()
	plan, err := h.Plan(p, host.View(v))
	if err != nil {
		return false, err
	}
	waits, err = h.Apply(p, plan)
	if err == nil && !slices.Equal(slices.DeleteFunc(p.events, waited), []string{"Done"}) {
		err = fmt.Errorf("events %q", p.events)
	}
	return waits, err
}

func (p *program) apply(v *tunnel.View) error {
	waits, err := p.do(v, host.Options{})
	if err != nil || waits {
		return errors.Join(err, fmt.Errorf("waits: %t", waits))
	}
	names, err := host.Applied()
	if err == nil {
		err = p.isTrue(v)
	}
	fmt.Println("applied: done, kept as wanted, applied:", names)
	return err
}

// isTrue fails where there is anything left to do.
func (p *program) isTrue(v *tunnel.View) error {
	plan, err := host.Status(p, v)
	if err == nil && len(plan.Steps) > 0 {
		err = fmt.Errorf("%d steps are left: %v", len(plan.Steps), plan.Steps[0].Change)
	}
	return err
}

func (p *program) leaveUnconfirmed(before, v *tunnel.View) error {
	waits, err := p.do(v, host.Options{Confirm: time.Second, Token: "first"})
	if err != nil || !waits {
		return errors.Join(err, errors.New("it does not wait to be confirmed"))
	}
	if err := p.isTrue(v); err != nil {
		return err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if err = p.isTrue(before); err == nil {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("it is not undone: %w", err)
		}
	}
	fmt.Println("not confirmed: done, waits, undone")
	return nil
}

func (p *program) confirm(v *tunnel.View) error {
	waits, err := p.do(v, host.Options{Confirm: time.Hour, Token: "second"})
	if err != nil || !waits {
		return errors.Join(err, errors.New("it does not wait to be confirmed"))
	}
	if _, err := host.Confirm(p, "wg0", host.Options{Token: "first"}); err == nil {
		return errors.New("another apply's token confirms this one")
	}
	if waited, err := host.Confirm(p, "wg0", host.Options{Token: "second"}); err != nil || !waited {
		return errors.Join(err, errors.New("nothing waited"))
	}
	if err := p.isTrue(v); err != nil {
		return err
	}
	fmt.Println("confirmed: done, waits, stays")
	waited, err := host.Confirm(p, "wg0", host.Options{})
	if !waited {
		fmt.Println("nothing waits")
	}
	return err
}

// overtake applies again just when the time of an apply that nobody confirmed is over: its
// guards want the lock of the host that the second one may have by then.
func (p *program) overtake(v, more *tunnel.View) error {
	none := *v
	none.Peers = nil
	for i := range 8 {
		early, late := fmt.Sprint("early", i), fmt.Sprint("late", i)
		if _, err := p.do(&none, host.Options{Confirm: time.Millisecond, Token: early}); err != nil {
			return fmt.Errorf("apply %d: %w", i, err)
		}
		time.Sleep(time.Duration(2+7*i) * time.Millisecond) // the guards look every 50 ms
		waits, err := p.do([]*tunnel.View{v, more}[i%2], host.Options{Confirm: time.Hour, Token: late})
		if err != nil || !waits {
			return errors.Join(err, fmt.Errorf("apply %d overtakes one: waits: %t", i, waits))
		}
		if _, err := host.Confirm(p, "wg0", host.Options{Token: late}); err != nil {
			return err
		}
	}
	fmt.Println("overtaken: done, waits")
	return nil
}

func (p *program) down() error {
	h, err := host.Begin(p, p.options(host.Options{}))
	if err != nil {
		return err
	}
	defer h.Close()
	plan, err := h.PlanDown(p, "wg0")
	if err != nil {
		return err
	}
	if err := h.Down(p, plan); err != nil {
		return err
	}
	if _, err := net.InterfaceByName("wg0"); err == nil {
		return errors.New("wg0 is there still")
	}
	names, err := host.Applied()
	fmt.Println("down: done, applied:", names)
	return err
}

// takeOver plans to take over a tunnel that does not run, by the text of its view.
func (p *program) takeOver(v *tunnel.View) error {
	var text bytes.Buffer
	if err := tunnel.EncodeView(&text, v); err != nil {
		return err
	}
	h, err := host.Look(p.options(host.Options{}))
	if err != nil {
		return err
	}
	defer h.Close()
	_, err = h.PlanTakeOver(p, host.Text(text.Bytes()))
	if why := new(fault.Fault); errors.As(err, &why) {
		fmt.Println("nothing to take over:", why.Why)
		return nil
	}
	return errors.Join(err, errors.New("a tunnel that does not run can be taken over"))
}
