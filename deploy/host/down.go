package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/host/session"
	"wgkeys/deploy/rotate/participant"
	"wgkeys/keyring/fault"
)

// PlanDown plans how to restore what was before the first apply of a tunnel.
func (h *Host) PlanDown(ctx context.Context, name string) (*apply.Plan, error) {
	plan, err := h.s.PlanDown(ctx, name)
	if err != nil || len(plan.Steps) > 0 {
		return plan, err
	}
	view, err := kept.View(name)
	if err != nil || view == nil || !session.Unrecorded(ctx, h.s, view) {
		return plan, nil
	}
	return nil, fault.New("cannot bring down the tunnel", name,
		"it is up, and there is no record in "+linux.RunDir+
			" of how the host was before: it was removed, or another program brought the tunnel up",
		"wgkeys import --take-over -t "+name+", then wgkeys down -t "+name)
}

// Down takes the steps of the plan that [Host.PlanDown] made. An apply that waits to be
// confirmed is undone by it.
func (h *Host) Down(ctx context.Context, plan *apply.Plan) error {
	if err := participant.UnderWay(plan.Tunnel); err != nil {
		return err
	}
	if err := journal.RemovePending(linux.RunDir, plan.Tunnel); err != nil {
		return err
	}
	made := session.MadeDevice(plan.Tunnel)
	if err := h.s.Take(ctx, plan, apply.RunDown, TestOnlyKernel); err != nil {
		return err
	}
	if made { // a device that was killed has left its socket
		if err := device.Sweep(plan.Tunnel); err != nil {
			return fault.WrapFile(fault.Errno(err), "cannot remove", device.Socket(plan.Tunnel), "")
		}
	}
	h.warnMissing(plan)
	h.tell(Done{})
	return participant.Forget(plan.Tunnel)
}

// Unrecorded are the tunnels with a kept view that were not applied here as far as is
// recorded, and whose interface is there nevertheless. It may be another program's.
func Unrecorded() []string {
	applied, err := Applied()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(kept.Names(), func(name string) bool {
		_, err := os.Lstat(filepath.Join("/sys/class/net", name))
		return err != nil || slices.Contains(applied, name)
	})
}

// Applied are the tunnels that were applied here and are not down, sorted by name.
func Applied() ([]string, error) {
	files, err := os.ReadDir(linux.RunDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read the folder", linux.RunDir, fault.AsRoot)
	}
	var names []string
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".journal"); ok {
			names = append(names, name)
		}
	}
	return names, nil
}
