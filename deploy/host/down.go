package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/host/session"
	"wgkeys/deploy/rotate/participant"
	"wgkeys/keyring/fault"
)

// PlanDown plans how to restore what was before the first apply of a tunnel.
func (h *Host) PlanDown(ctx context.Context, name string) (*apply.Plan, error) {
	return h.s.PlanDown(ctx, name)
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
