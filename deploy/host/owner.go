package host

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// An Owner is the host that this machine is to somebody who works on it from another one, and
// with no view of his own: only what this machine remembers tells that ssh has led elsewhere,
// as two names of hosts do that lead to one machine.
type Owner struct {
	Host string
	Keys []keyring.PublicKey // its keys: it may have had another name when it was last applied
}

// Check refuses if tunnels were applied here, and all of them as another host's.
func (o Owner) Check(tunnels ...string) error {
	others := map[string]bool{}
	for _, name := range tunnels {
		for _, v := range viewsOf(name) {
			if o.owns(v) {
				return nil
			}
			others[v.Host] = true
		}
	}
	if len(others) == 0 {
		return nil
	}
	names := strings.Join(slices.Sorted(maps.Keys(others)), ", ")
	return fault.NewHost("this is not the machine of host", o.Host,
		fmt.Sprintf("its tunnel is that of %s, and ssh leads here by both names", names),
		fmt.Sprintf("write another ssh = under [hosts.%s]; if it is its machine: wgkeys apply %[1]s", o.Host))
}

func (o Owner) owns(v *tunnel.View) bool {
	return v.Host == o.Host || slices.Contains(o.Keys, v.PublicKey)
}

// viewsOf are the views of a tunnel as it is, and as it will be once it is confirmed.
func viewsOf(name string) (views []*tunnel.View) {
	if v, err := kept.View(name); err == nil && v != nil {
		views = append(views, v)
	}
	if p, err := journal.ReadPending(linux.RunDir, name); err == nil && p != nil && p.After != nil {
		views = append(views, p.After)
	}
	return views
}
