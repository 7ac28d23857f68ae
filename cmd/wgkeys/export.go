package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/formats"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/parallel"
)

func exportCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "export",
		UsageText: "wgkeys export shale                   # for wg-quick\n" +
			"wgkeys export --format networkd -o /etc/systemd/network shale\n" +
			"wgkeys export --secret phone",
		Usage:     "write a host's tunnel for another program",
		ArgsUsage: "HOST",
		Description: "Formats: " + strings.Join(formats.ExportNames(), ", ") + ".\n" +
			"The files name the host's key files, as far as the program can read a key from a\n" +
			"file. With --secret the keys are in the text: it goes to a terminal, a pipe, or\n" +
			"with -o into a file of mode 0600. --all DIR writes every host of every tunnel.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "write as `FORMAT`", Value: "wg-quick"},
			&cli.BoolFlag{Name: "secret", Usage: "put the keys of HOST into the text"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"},
				Usage: "write to `FILE`, or several files to a folder"},
			&cli.StringFlag{Name: "all", Usage: "write all hosts of all tunnels, below `DIR`"},
			tunnelFlag, hostFlag, identityFlag,
		},
	}, doExport
}

func doExport(e *env) error {
	format, err := formats.Exportable(e.cli.String("format"))
	if err != nil {
		return ui.ExitWith(ui.ExitUsage, err)
	}
	x := &exporter{env: e, write: format.Write, secret: e.cli.Bool("secret")}
	if e.cli.IsSet("all") {
		if len(e.names()) > 0 || e.cli.IsSet("output") {
			return ui.Usage("too many names for", "wgkeys export --all", "it writes every host, below its folder",
				"wgkeys export --all DIR")
		}
		return x.all(e.cli.String("all"), e.cli.String("tunnel"))
	}
	if _, err := e.oneName(func() (string, error) {
		return "", ui.Usage("no host named for", "wgkeys export", "it writes the tunnel of one host", "wgkeys export HOST")
	}); err != nil {
		return err
	}
	v, _, err := viewOf(e)
	if err != nil {
		return err
	}
	out := e.cli.String("output")
	if err := x.takesSecret(out, v.Host); err != nil {
		return err
	}
	list, err := x.files(v)
	if err != nil {
		return err
	}
	defer foreign.Wipe(list)
	if v.Unmanaged {
		defer warnNowhere(e, v)
	}
	if out != "" {
		return x.put(list, out)
	}
	e.ui.Secret(shown(list))
	return nil
}

// takesSecret refuses to write a key into a file by redirection, or where git would commit
// it.
func (x *exporter) takesSecret(out, host string) error {
	switch {
	case !x.secret:
		return nil
	case out == "":
		return x.env.ui.TakesSecret("wgkeys export --secret -o FILE " + host)
	}
	return outside(x.env, out)
}

// An exporter writes views in one format.
type exporter struct {
	env    *env
	write  func(*tunnel.View, foreign.Secrets) ([]foreign.File, error)
	secret bool
	repo   *repo.Repo
}

func (x *exporter) files(v *tunnel.View) ([]foreign.File, error) {
	if !x.secret {
		return x.write(v, foreign.Secrets{})
	}
	r := x.repo
	if r == nil {
		var err error
		if r, err = x.env.repo(); err != nil {
			return nil, err
		}
	}
	ids := x.env.identities()
	defer x.env.warnLoose(ids)
	s, err := x.env.maker(r, ids).Secrets(v)
	if err != nil {
		return nil, err
	}
	return x.write(v, s)
}

// all writes every host of every tunnel, or of one, into a folder of its name.
func (x *exporter) all(dir, tunnel string) error {
	r, err := x.env.repo()
	if err != nil {
		return err
	}
	x.repo = r
	if x.secret {
		if err := outside(x.env, dir); err != nil {
			return err
		}
	}
	tunnels, err := r.SomeTunnels(tunnel)
	if err != nil {
		return err
	}
	out, err := files.NewReplacements(dir)
	if err != nil {
		return unwritten(err, "cannot make or open the folder", dir)
	}
	defer out.Close()
	written := 0
	for _, t := range tunnels {
		n, err := x.hosts(t, dir, out)
		if err != nil {
			return err
		}
		written += n
	}
	if err := out.Commit(); err != nil {
		return unwritten(err, "cannot write files below", dir)
	}
	x.env.ui.Say("wrote %s of %s into %s", ui.Plural(written, "host"), ui.Plural(len(tunnels), "tunnel"), dir)
	return nil
}

// hosts adds the files of every host of a tunnel to out, and counts the hosts.
func (x *exporter) hosts(t *tunnel.Tunnel, dir string, out *files.Replacements) (written int, err error) {
	views, err := repo.ViewsOf(x.repo, t)
	if err != nil {
		return 0, err
	}
	hosts := t.Hosts()
	keyless := make([]bool, len(hosts))
	if err := x.each(len(hosts), func(i int) error {
		if x.env.ctx.Err() != nil {
			return context.Cause(x.env.ctx)
		}
		v, err := views.Of(hosts[i])
		if err != nil {
			return err
		}
		err = x.into(v, dir, hosts[i], out)
		if keyless[i] = v.Unmanaged && errors.Is(err, fs.ErrNotExist); keyless[i] {
			return nil
		}
		return err
	}); err != nil {
		return 0, err
	}
	for i, host := range hosts {
		if keyless[i] {
			x.env.ui.Say("left out %s of %s: no vault file has its key", host, t.Name)
			continue
		}
		written++
	}
	return written, nil
}

// each calls do for 0 to n-1, and returns the first error: in parallel, unless it may ask
// the user for a passphrase.
func (x *exporter) each(n int, do func(i int) error) error {
	if !x.secret {
		errs := make([]error, n)
		parallel.Queue(n, func(i int) { errs[i] = do(i) })
		return cmp.Or(errs...)
	}
	for i := range n {
		if err := do(i); err != nil {
			return err
		}
	}
	return nil
}

// into adds the files of a view to out, which writes below dir, in a folder that it makes.
func (x *exporter) into(v *tunnel.View, dir, folder string, out *files.Replacements) error {
	list, err := x.files(v)
	if err != nil {
		return err
	}
	defer foreign.Wipe(list)
	if err := out.Folder(folder); err != nil {
		return unwritten(err, "cannot make the folder", filepath.Join(dir, folder))
	}
	return add(list, out, dir, folder)
}

// add adds files to out, which writes below dir, in a folder of it.
func add(list []foreign.File, out *files.Replacements, dir, folder string) error {
	for _, f := range list {
		name := filepath.Join(folder, path.Base(f.Name))
		mode, err := modeOf(f)
		if err == nil {
			err = out.Add(name, f.Text, mode)
		}
		if err != nil {
			return unwritten(err, "cannot write", filepath.Join(dir, name))
		}
	}
	return nil
}

// put writes a single file to the path out, or several into the folder out.
func (x *exporter) put(list []foreign.File, out string) error {
	info, err := os.Stat(out)
	if folder := err == nil && info.IsDir(); len(list) == 1 && !folder {
		return writeOut(out, list[0])
	} else if !folder {
		return fault.NewFile("several files do not fit into", out,
			strconv.Itoa(len(list))+" were made, and it is not a folder",
			"mkdir "+ui.Quoted(out)+", then the same command again")
	}
	all, err := files.NewReplacements(out)
	if err != nil {
		return unwritten(err, "cannot open the folder", out)
	}
	defer all.Close()
	if err := add(list, all, out, ""); err != nil {
		return err
	}
	if err := all.Commit(); err != nil {
		return unwritten(err, "cannot write files in", out)
	}
	return nil
}

// writeOut writes f, which has its final mode from the beginning. It replaces only a regular
// file: a device or a link, such as /dev/stdout, is refused.
func writeOut(to string, f foreign.File) error {
	if info, err := os.Lstat(to); err == nil && !info.Mode().IsRegular() {
		return fault.NewFile("cannot write", to, "it is there, and no ordinary file", "ls -ld "+ui.Quoted(to))
	}
	mode, err := modeOf(f)
	if err == nil {
		err = files.Replace(to, bytes.NewReader(f.Text), files.Replacement{Mode: mode})
	}
	if err != nil {
		return unwritten(err, "cannot write", to)
	}
	return nil
}

func modeOf(f foreign.File) (fs.FileMode, error) {
	mode, err := strconv.ParseUint(f.Mode, 8, 12)
	return fs.FileMode(mode), err
}

// unwritten is the error for a file or a folder that could not be written. [ui.UI] has a hint of
// its own for a full disk.
func unwritten(err error, what, path string) error {
	hint := ""
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EROFS) {
		hint = "ls -ld " + ui.Quoted(inTheWay(err, path))
	}
	return fault.WrapFile(fault.Errno(err), what, path, hint)
}

// inTheWay returns path, or the nearest folder above it that exists. If path is a file its folder
// decides whether it can be replaced.
func inTheWay(err error, path string) string {
	for above := filepath.Dir(path); above != path; path, above = above, filepath.Dir(above) {
		info, missing := os.Lstat(path)
		if missing == nil && (!info.Mode().IsRegular() || errors.Is(err, syscall.ENOTDIR)) {
			break
		}
	}
	return path
}

// shown returns the texts of files, one after the other. If there are several, each has a
// heading with its path.
func shown(list []foreign.File) []byte {
	if len(list) == 1 {
		return list[0].Text
	}
	var b bytes.Buffer
	for i, f := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		owner := ""
		if f.Owner != "" {
			owner = " " + f.Owner
		}
		fmt.Fprintf(&b, "# %s (%s%s)\n", f.Name, f.Mode, owner)
		b.Write(f.Text)
	}
	return b.Bytes()
}
