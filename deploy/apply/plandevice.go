package apply

import (
	"cmp"
	"slices"
	"strings"
)

func setDevice(p *filterPlanner) {
	want := wantDevice(p.planner)
	if markTransition(p.planner) {
		want.FwMark = p.state.Device.FwMark // until setMark
	}
	p.redirectPort(p.state.Device.ListenPort, want.ListenPort)
	changeDevice(p.planner, p.state.Device, want)
	p.endRedirect()
}

func wantDevice(p *planner) Device {
	v := p.view
	want := Device{v.PublicKey, v.PrivateKeyFile, v.ListenPort, cmp.Or(v.FwMark, p.policyRouting.mark.Value)}
	if want.ListenPort == 0 { // the kernel's choice, once made, stays
		want.ListenPort = p.state.Device.ListenPort
	}
	return want
}

func changeDevice(p *planner, old, want Device) {
	var why []string
	if old.PublicKey != want.PublicKey {
		why = append(why, "its private key, whose public key is "+want.PublicKey.String())
	}
	if old.ListenPort != want.ListenPort {
		why = append(why, "its port, OUTSIDE")
	}
	if old.FwMark != want.FwMark {
		why = append(why, "the mark of its encrypted packets")
	}
	if why != nil {
		p.step(DeviceChange{p.view.Tunnel, old, want}, "%s", strings.Join(why, "; "))
	}
}

// markTransition reports whether a rule of ours spares the packets of a mark that is to
// change. Without the mark they would go into the tunnel that they make up, so
// it stays as long as the rule.
func markTransition(p *planner) bool {
	old := p.state.Device.FwMark
	return old != 0 && old != wantDevice(p).FwMark && slices.ContainsFunc(p.state.Rules, func(r Rule) bool {
		return r.NotMark.In(old) && p.isMine(RuleChange{Rule: r}.Resource())
	})
}
