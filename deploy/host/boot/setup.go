package boot

import (
	"context"
	"fmt"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// A Setup says which tunnels are to come up at boot.
type Setup struct {
	Views  []*tunnel.View
	DryRun bool              // report all steps, and take none
	Step   func(line string) // called with the command line of each step before it is taken
}

// SetUp makes s bring the tunnels up at boot. What is so already is left as it is, except that a
// dry run reports it, too. It returns whether there was a step.
func (s System) SetUp(ctx context.Context, o Setup) (changed bool, err error) {
	for _, f := range s.Files(o.Views) {
		if !o.DryRun && f.is() {
			continue
		}
		changed = true
		o.Step(fmt.Sprintf("install -m %04o %s", f.Mode, f.Path))
		if o.DryRun {
			continue
		}
		if err := f.write(); err != nil {
			return true, fault.WrapFile(err, "cannot install", f.Path, "sudo wgkeys install")
		}
	}
	for _, c := range s.enable(o.Views) {
		if !o.DryRun && (c.reads && !changed || c.Done(ctx)) {
			continue
		}
		changed = true
		o.Step(c.String())
		if o.DryRun {
			continue
		}
		if err := c.Run(ctx); err != nil {
			return true, err
		}
	}
	return changed, nil
}
