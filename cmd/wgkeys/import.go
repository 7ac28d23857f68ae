package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel/draft"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/formats"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

func importCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "import",
		UsageText: "wgkeys import /etc/wireguard/wg0.conf\n" +
			"wgkeys import -n hub=wg0.conf basalt=b.conf\n" +
			"wgkeys import --live hub=root@hub.example.net",
		Usage:     "make a tunnel file from the files of another program",
		ArgsUsage: "[NAME=]FILE... | --live [[NAME=]HOST...] | --take-over|--undo [HOST]",
		Description: "Formats: " + strings.Join(formats.ImportNames(), ", ") + ". Files of several hosts, as\n" +
			"NAME=FILE each, become one tunnel: they are matched by public keys. A FILE\n" +
			"without a name is this machine's. The keys go into the vault and nowhere else, the\n" +
			"rest becomes tunnels/TUNNEL.toml. What that cannot express is listed, and nothing is\n" +
			"written then without --leave-out.\n" +
			"\n" +
			"With --live it reads the kernel, and the files of the program that brought the interface\n" +
			"up: if they differ the kernel counts. The host needs only wg(8) and ip(8).\n" +
			"\n" +
			"With --take-over a tunnel that runs on this machine, or on HOST, comes under wgkeys\n" +
			"without a packet lost: its program releases it, and --undo gives it back.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "the files are in `FORMAT`", DefaultText: "by what is in them"},
			&cli.StringFlag{Name: "host", Usage: "the files belong to `HOST`", DefaultText: "this machine"},
			&cli.StringFlag{Name: "tunnel", Aliases: []string{"t"},
				Usage: "name the tunnel, and its interface, `TUNNEL`; with --live read it alone"},
			&cli.BoolFlag{Name: "leave-out", Usage: "write the rest if something cannot be expressed"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "show the tunnel file, and write nothing"},
			&cli.BoolFlag{Name: "live", Usage: "read the running tunnels of this machine, or over ssh of each HOST"},
			takeOverFlag, undoFlag, hiddenViewFlag, ofFlag, ofKeyFlag,
			commitFlag,
		},
	}, doImport
}

// maxImport is how many bytes of files an import reads: as many as a tunnel file may have.
const maxImport = 16 << 20

// importOptions say what is read, and what is done with it.
type importOptions struct {
	format, tunnel   string // "": by what is read
	host             string // whose files they are, if ofHost is set; otherwise this machine's
	ofHost           bool
	live             bool // the running tunnels
	leaveOut, dryRun bool
}

func doImport(e *env) error {
	o := importOptions{format: e.cli.String("format"), tunnel: e.cli.String("tunnel"), host: e.cli.String("host"),
		ofHost: e.cli.IsSet("host"), live: e.cli.Bool("live"), leaveOut: e.cli.Bool("leave-out"),
		dryRun: e.cli.Bool("dry-run")}
	switch over, undo := e.cli.Bool("take-over"), e.cli.Bool("undo"); {
	case over && undo:
		return ui.Usage("cannot go together:", "--take-over and --undo", "one undoes the other",
			"wgkeys import --help")
	case over:
		return doTakeOver(e, e.cli.String("view"), o.dryRun)
	case undo:
		return doGiveBack(e, o.tunnel, o.dryRun)
	}
	i := &intake{env: e, o: o, named: map[string]string{}}
	devices, err := i.devices()
	if err != nil {
		return err
	}
	drafts, err := i.drafts(devices)
	if err != nil {
		return err
	}
	if err := i.tellLeft(drafts); err != nil {
		return err
	}
	if o.dryRun {
		for n, d := range drafts {
			if len(drafts) > 1 {
				e.ui.Printf("%s# tunnels/%s.toml\n", strings.Repeat("\n", min(n, 1)), d.Tunnel)
			}
			e.ui.Printf("%s", d.Text)
		}
		return nil
	}
	return i.write(drafts)
}

// devices returns the interfaces in the files, or the running ones.
func (i *intake) devices() ([]*foreign.Device, error) {
	e := i.env
	if i.o.live {
		return i.readLive()
	}
	if len(e.names()) == 0 {
		return nil, ui.Usage("no file named for", "wgkeys import", "it reads the files of another program",
			"wgkeys import /etc/wireguard/wg0.conf, or wgkeys import --live")
	}
	if i.o.format != "" {
		if _, err := formats.Importable(i.o.format); err != nil {
			return nil, ui.ExitWith(ui.ExitUsage, err)
		}
	}
	list, err := i.readFiles()
	defer wipe(list)
	if err != nil {
		return nil, err
	}
	return i.parse(list)
}

// An intake reads files of other programs.
type intake struct {
	env   *env
	o     importOptions
	named map[string]string // the host by file
	size  int
}

// readFiles reads the named files, and those of named folders that describe tunnels.
func (i *intake) readFiles() (list []foreign.File, err error) {
	for _, arg := range i.env.names() {
		host, path := "", arg
		if name, rest, ok := strings.Cut(arg, "="); ok {
			err := keyring.CheckHost(name)
			switch {
			case err == nil:
				host, path = name, rest
			case !strings.Contains(name, "/") && !exists(arg):
				return list, ui.Usage("no host can be named", name, err.Error(), "wgkeys import NAME="+ui.Quoted(rest))
			}
		}
		paths, err := filesOf(path)
		if err != nil {
			return list, fault.WrapFile(fault.Errno(err), "cannot read", path, "ls -ld "+ui.Quoted(path))
		}
		for _, p := range paths {
			text, err := i.readFile(p)
			if err != nil {
				return list, fault.WrapFile(fault.Errno(err), "cannot read", p,
					"sudo, where it is readable for root alone: ls -l "+ui.Quoted(p))
			}
			file := foreign.File{Name: p, Text: text, Interface: i.o.tunnel}
			if p != path && i.stray(file) {
				continue
			}
			list = append(list, file)
			if host != "" {
				i.named[p] = host
			}
		}
	}
	return list, nil
}

// stray reports whether a file of a named folder describes no tunnel, and says so.
func (i *intake) stray(f foreign.File) bool {
	if i.o.format != "" {
		return false
	}
	why := formats.Stray(f)
	if why == "" {
		return false
	}
	clear(f.Text)
	i.env.ui.Say("no tunnel: %s: %s", f.Name, why)
	return true
}

// parse reads the files of each host by themselves, since those of two hosts may have the
// same names.
func (i *intake) parse(list []foreign.File) (devices []*foreign.Device, err error) {
	byHost := map[string][]foreign.File{}
	var hosts []string
	for _, f := range list {
		host := i.named[f.Name]
		if byHost[host] == nil {
			hosts = append(hosts, host)
		}
		byHost[host] = append(byHost[host], f)
	}
	var errs []error
	for _, host := range hosts {
		d, err := formats.Parse(byHost[host], i.o.format, i.keyFile)
		devices, errs = append(devices, d...), append(errs, err)
	}
	return devices, errors.Join(errs...)
}

// filesOf is path, or the files in it if it is a folder, except the hidden ones.
func filesOf(path string) (paths []string, err error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	err = filepath.WalkDir(path, func(p string, e os.DirEntry, err error) error {
		switch hidden := strings.HasPrefix(e.Name(), "."); {
		case err != nil:
			return err
		case hidden && e.IsDir() && p != path:
			return filepath.SkipDir
		case !hidden && e.Type().IsRegular():
			paths = append(paths, p)
		}
		return nil
	})
	return paths, err
}

// readFile reads a file; all together are bounded.
func (i *intake) readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(maxImport-i.size)+1))
	if i.size += len(text); err == nil && i.size > maxImport {
		err = fmt.Errorf("the files are larger than %d MiB", maxImport>>20)
	}
	return text, err
}

// drafts makes a tunnel from the interfaces of each name.
func (i *intake) drafts(devices []*foreign.Device) (drafts []*draft.Draft, err error) {
	if len(devices) == 0 {
		return nil, fault.New("no tunnel in", strings.Join(i.env.names(), ", "),
			"none of the files has a WireGuard interface", "wgkeys import --help")
	}
	byName := map[string][]*foreign.Device{}
	var names []string
	for _, d := range devices {
		if err := i.name(d); err != nil {
			return nil, err
		}
		if byName[d.Name] == nil {
			names = append(names, d.Name)
		}
		byName[d.Name] = append(byName[d.Name], d)
	}
	for _, name := range names {
		d, err := draft.Make(byName[name])
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}

// name decides on the names of the device's host and interface.
func (i *intake) name(d *foreign.Device) (err error) {
	switch name := i.named[d.Pos.File]; {
	case name != "":
		d.Host = name
	case d.Host != "": // the format names hosts itself
	case i.o.ofHost:
		d.Host = i.o.host
	default:
		d.Host, err = i.env.thisHost()
	}
	if here, failed := remote.ShortName(); failed == nil && d.Host == here {
		i.ownKeys(d)
	}
	if i.o.tunnel != "" {
		d.Name = i.o.tunnel
	}
	return err
}

// ownKeys reads the key files that a device of this machine names; otherwise the keys would
// be missing.
func (i *intake) ownKeys(d *foreign.Device) {
	if text, err := i.keyFile(d.PrivateKeyFile); err == nil && d.PrivateKey.IsZero() {
		if k, err := keyring.ParsePrivateKey(text); err == nil {
			d.PrivateKey = k
		}
		clear(text)
	}
	for n := range d.Peers {
		p := &d.Peers[n]
		if text, err := i.keyFile(p.PresharedKeyFile); err == nil && p.PresharedKey.IsZero() {
			if k, err := keyring.ParsePresharedKey(text); err == nil {
				p.PresharedKey = k
			}
			clear(text)
		}
	}
}

// keyFile reads a file that an imported one names, of keys or for `wg setconf`. A FIFO is
// refused, since it would make us wait for its writer.
func (i *intake) keyFile(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, os.ErrNotExist
	}
	return i.readFile(path)
}

// tellLeft lists what cannot be expressed. That is an error, unless it may be left out.
func (i *intake) tellLeft(drafts []*draft.Draft) error {
	left := 0
	for _, d := range drafts {
		for _, l := range d.Left {
			i.env.ui.Say("left out: %s:%d: %s: %s", l.Pos.File, l.Pos.Line, l.What, l.Why)
			left++
		}
	}
	if left == 0 || i.o.leaveOut || i.o.dryRun {
		return nil
	}
	again := append([]string{"wgkeys import --leave-out"}, flagsOf(i.env)...)
	for _, n := range i.env.names() {
		again = append(again, ui.Quoted(n))
	}
	lines := "1 line"
	if left > 1 {
		lines = fmt.Sprintf("%d lines", left)
	}
	return fault.New("nothing was written; left out would be "+lines+" of", strings.Join(i.env.names(), ", "),
		"a tunnel file cannot express it", strings.Join(again, " "))
}

func (i *intake) write(drafts []*draft.Draft) error {
	e := i.env
	r, err := e.writing()
	if err != nil {
		return err
	}
	m := e.maker(r, nil)
	var lines []string
	for _, d := range drafts {
		made, failed := m.Import(d)
		lines = append(lines, made...)
		if len(made) > 0 {
			e.ui.Printf("%s\n", strings.Join(made, "\n"))
		}
		if failed != nil {
			return r.Changes.Commit(e.ctx, e.ui, "import", lines, failed)
		}
		i.tellKeys(d, repo.Commands(r, d.Tunnel))
	}
	return r.Changes.Commit(e.ctx, e.ui, "import", lines, nil)
}

// tellKeys says which keys the files did not hold.
func (i *intake) tellKeys(d *draft.Draft, in words.Commands) {
	for _, h := range d.Hosts {
		if !h.Managed || !h.PrivateKey.IsZero() {
			continue
		}
		where := "no file has it"
		if h.KeyFile != "" {
			where = "it is in " + h.KeyFile + " there"
		}
		i.env.ui.Warn(fault.NewHost("no private key yet for", h.Name, where,
			"on "+h.Name+", import again; or a new one: "+in.Run("gen", h.Name)))
	}
	var without []string
	for _, p := range d.Pairs {
		if p.Key.IsZero() {
			without = append(without, p.A+" and "+p.B)
		}
	}
	if slices.Sort(without); len(without) > 0 {
		i.env.ui.Warn(fault.New("no preshared key yet for", strings.Join(without, ", "), "the files name only where it lies",
			"wgkeys gen, for new ones"))
	}
}
