package ifupdown

import (
	"maps"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/words"
)

// hostSysctls returns the sysctls that are not the interface's own, with their new values.
func (w *writer) hostSysctls() map[string]string {
	v := w.v
	values := maps.Clone(v.Sysctls)
	maps.DeleteFunc(values, func(key, _ string) bool { return w.own(key) })
	if values == nil {
		values = map[string]string{}
	}
	if v.ForwardIPv4 {
		values["net.ipv4.ip_forward"] = "1"
	}
	if v.ForwardIPv6 {
		values["net.ipv6.conf.all.forwarding"] = "1"
	}
	for prefix := range w.policy {
		if prefix.Addr().Is4() { // otherwise the reverse path filter ignores the mark
			values[foreign.MarkSysctl] = "1"
		}
	}
	return values
}

// own reports whether a sysctl comes and goes with the interface.
func (w *writer) own(key string) bool {
	file, err := tunnel.SysctlPath(key)
	parts := strings.Split(file, "/")
	return err == nil && len(parts) == 5 && parts[3] == w.v.Tunnel
}

// sysctls sets the host's sysctls before the interface exists, and the interface's own
// afterwards.
func (w *writer) sysctls() {
	host := w.hostSysctls()
	if len(host) > 0 {
		w.option("pre-up", "sysctl %s >%s", strings.Join(slices.Sorted(maps.Keys(host)), " "), saved)
	}
	if w.touchesInterfaces() {
		w.option("pre-up", "%s", saveInterfaces)
	}
	if w.v.ForwardIPv6 {
		w.option("pre-up", "%s", keepAdvertisements)
	}
	for _, key := range slices.Sorted(maps.Keys(host)) {
		w.option("pre-up", "sysctl -q -w %s=%s", words.ForShell(key), words.ForShell(host[key]))
	}
	for _, key := range slices.Sorted(maps.Keys(w.v.Sysctls)) {
		if w.own(key) {
			w.option("up", "sysctl -q -w %s=%s", words.ForShell(key), words.ForShell(w.v.Sysctls[key]))
		}
	}
}

// touchesInterfaces reports whether sysctls of other interfaces change.
func (w *writer) touchesInterfaces() bool { return w.v.ForwardIPv6 || len(w.v.Proxies) > 0 }

// putBack restores the old values, in the last line.
func (w *writer) putBack() {
	if len(w.hostSysctls()) > 0 || w.touchesInterfaces() {
		w.option("post-down", "%s", putBack)
	}
}
