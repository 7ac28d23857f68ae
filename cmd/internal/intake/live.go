package intake

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/formats"
	"wgkeys/deploy/tunnel/live"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// A liveHost is a host whose running tunnels are imported, and its ssh destination; "" is
// this machine.
type liveHost struct{ name, dest string }

func liveHosts(o Options) (hosts []liveHost, err error) {
	if len(o.Names) == 0 {
		name, err := o.thisHost()
		return []liveHost{{name: name}}, err
	}
	here, _ := remote.ShortName() // a host without a name is this machine
	for _, arg := range o.Names {
		h := liveHost{arg, arg}
		if name, dest, ok := strings.Cut(arg, "="); ok {
			h = liveHost{name, dest}
		}
		if err := keyring.CheckHost(h.name); err != nil {
			return nil, ui.Usage("no host can be named", h.name, err.Error(), "wgkeys import --live NAME=root@"+h.dest)
		}
		if h.dest == here {
			h.dest = ""
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

// readLive returns the interfaces that run on the hosts, as their kernels have them.
// Differences in their files are reported.
func (r *reader) readLive(ctx context.Context) (devices []*foreign.Device, err error) {
	hosts, err := liveHosts(r.o)
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		text, err := r.o.Hosts.Live(ctx, h.name, h.dest, live.Script, maxSize)
		if err != nil {
			return nil, err
		}
		found, err := live.Parse(h.name, text)
		clear(text)
		if err != nil {
			return nil, err
		}
		list, err := r.liveDevices(h, found)
		if err != nil {
			return nil, err
		}
		devices = append(devices, list...)
	}
	return devices, nil
}

// liveDevices merges each interface with the file that configures it.
func (r *reader) liveDevices(h liveHost, found *live.Host) (devices []*foreign.Device, err error) {
	files, err := r.liveFiles(h, found)
	if err != nil {
		return nil, err
	}
	only := r.o.Tunnel
	for _, kernel := range found.Devices {
		if only != "" && kernel.Name != only {
			continue
		}
		var file *foreign.Device
		if at := slices.IndexFunc(files, func(d *foreign.Device) bool { return d.Name == kernel.Name }); at >= 0 {
			file = files[at]
		}
		d, differences := found.Merge(kernel, file)
		for _, x := range differences {
			r.o.Report.Say("%s: %s: %s; the kernel counts", h.name, kernel.Name, x)
		}
		if d.Host = h.name; h.dest != h.name {
			d.SSH = h.dest
		}
		devices = append(devices, d)
	}
	if len(devices) == 0 {
		return nil, fault.NewHost("no tunnel runs on host", h.name,
			"it has no WireGuard interface"+map[bool]string{true: " of that name"}[only != ""], "wgkeys import --help")
	}
	return devices, nil
}

// liveFiles reads the files of each program. An invalid file is an error, unless it may be
// left out, since the kernel has the rest.
func (r *reader) liveFiles(h liveHost, found *live.Host) (devices []*foreign.Device, err error) {
	defer foreign.Wipe(found.Files)
	read := func(path string) ([]byte, error) {
		for _, f := range found.Files {
			if f.Name == path {
				return bytes.Clone(f.Text), nil
			}
		}
		return nil, errors.New("it is on host " + h.name)
	}
	for _, group := range live.Programs(found.Files) {
		list, err := formats.Parse(group, "", read)
		if err != nil && !r.o.LeaveOut {
			return nil, err
		}
		if err != nil {
			r.o.Report.Warn(err)
			continue
		}
		devices = append(devices, list...)
	}
	return devices, nil
}
