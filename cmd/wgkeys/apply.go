package main

import (
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

var (
	// viewFlag is how apply HOST passes the view to the host's wgkeys, and how a host brings
	// tunnels up at boot.
	viewFlag = &cli.StringFlag{Name: "view",
		Usage: "apply the view in `FILE`, as show --json writes it; - is standard input"}
	// keptFlag is for the units, which need not know where the view is kept.
	keptFlag    = &cli.BoolFlag{Name: "kept", Usage: "apply the view that the last apply on this machine kept"}
	confirmFlag = &cli.DurationFlag{Name: "confirm", Usage: "undo it after `DURATION` unless wgkeys confirm comes first",
		DefaultText: "30s over ssh, 0 here"}
	unknownFlag = &cli.BoolFlag{Name: "unknown", Usage: "also if the host has newer keys than the view"}
	tokenFlag   = &cli.StringFlag{Name: "token", Hidden: true}
)

func planCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "plan",
		UsageText: "wgkeys plan shale\n" +
			"wgkeys plan --all",
		Usage:       "show what apply would do, step by step, and why",
		ArgsUsage:   "[HOST...|--all]",
		Description: "Without HOST: on this machine. Exit code 4 if there is a step to take.",
		Flags: []cli.Flag{allFlag, jobsFlag, tunnelFlag, hostFlag, viewFlag, keptFlag, unknownFlag, jsonFlag,
			timeoutFlag},
	}, doPlan
}

func applyCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "apply",
		UsageText: "wgkeys apply                          # here\n" +
			"wgkeys apply shale --confirm 2m\n" +
			"wgkeys apply --all --batch 10",
		Usage:     "set up a host's tunnel as its file says",
		ArgsUsage: "[HOST...|--all]",
		Description: "Without HOST: on this machine. The plan is shown first. If a step fails, those\n" +
			"before it are undone. With --batch a host is confirmed once all of its batch have\n" +
			"answered and nothing on it is worse than before; one that is not confirmed undoes\n" +
			"the apply by itself, and no more batches are begun.",
		Flags: []cli.Flag{allFlag, jobsFlag, batchFlag, stopAfterFlag, tunnelFlag, hostFlag, viewFlag, keptFlag, unknownFlag,
			dryRunFlag, jsonFlag, confirmFlag, tokenFlag, timeoutFlag},
	}, doApply
}

func downCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "down",
		UsageText: "wgkeys down                           # here\n" +
			"wgkeys down shale",
		Usage:       "undo apply: restore everything as it was before",
		ArgsUsage:   "[HOST...|--all]",
		Description: "Without HOST: on this machine, where neither repository nor tunnel file is needed.",
		Flags: []cli.Flag{allFlag, jobsFlag, stopAfterFlag, tunnelFlag, hostFlag, ofFlag, ofKeyFlag, dryRunFlag,
			jsonFlag, timeoutFlag},
	}, doDown
}

// hereOptions say how apply and plan work on this machine.
type hereOptions struct {
	planOnly bool
	json     bool
	view     string // the file of the view; "-": standard input; "": another one
	kept     bool   // the view that the last apply kept
	tunnel   string // with kept: of which tunnel; "": of the only one
	unknown  bool   // even if the host has newer keys
	confirm  time.Duration
	token    string // identifies the apply that waits to be confirmed
}

// hereOptionsOf are those of the command line that apply and plan both have.
func hereOptionsOf(e *env) hereOptions {
	return hereOptions{json: e.cli.Bool("json"), view: e.cli.String("view"), kept: e.cli.Bool("kept"),
		tunnel: e.cli.String("tunnel"), unknown: e.cli.Bool("unknown")}
}

func doPlan(e *env) error {
	o := hereOptionsOf(e)
	o.planOnly = true
	return applyOrPlan(e, o, remote.ApplyOptions{Unknown: o.unknown})
}

func doApply(e *env) error {
	o := hereOptionsOf(e)
	o.planOnly, o.confirm, o.token = e.cli.Bool("dry-run"), e.cli.Duration("confirm"), e.cli.String("token")
	there := applyOptions(e)
	if size := e.cli.Int("batch"); size > 0 && namesMany(e) && !o.planOnly && o.view == "" && !o.kept {
		return applyBatches(e, there, size, e.cli.IsSet("confirm"))
	}
	return applyOrPlan(e, o, there)
}

// applyOrPlan works here, or makes another host's wgkeys do so.
func applyOrPlan(e *env, o hereOptions, there remote.ApplyOptions) error {
	there.PlanOnly = o.planOnly
	file, err := fileOfView(e, o)
	if err != nil {
		return err
	}
	switch several := namesMany(e); {
	case several && file != "":
		return ui.Usage("cannot go together:", "a view and several hosts", "a view is that of one host",
			"wgkeys apply --help")
	case several:
		return applyMany(e, there)
	}
	if file != "" {
		text, err := readText(file)
		if err != nil {
			return err
		}
		if o.kept {
			return applyKept(e, file, text, o)
		}
		return applyText(e, text, o)
	}
	here := func(v *tunnel.View) error { return applyView(e, v, o) }
	return onHostOfView(e, here, func(t *tunnel.Tunnel, v *tunnel.View) error {
		return e.hosts.Apply(e.ctx, t, v, there)
	})
}

// onHostOfView works with the view of the named host on that host, or with its own on this
// machine.
func onHostOfView(e *env, here func(*tunnel.View) error, there func(*tunnel.Tunnel, *tunnel.View) error) error {
	v, t, err := viewOf(e)
	if err != nil {
		return err
	}
	if err := requireManaged(e, t, v.Host); err != nil {
		return err
	}
	if len(e.names()) == 0 || e.hosts.IsLocal(t, v.Host) {
		return here(v)
	}
	return there(t, v)
}

func readText(file string) ([]byte, error) {
	if file == "-" {
		return tunnel.ReadText(os.Stdin)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read the view", file,
			"wgkeys show --json HOST > "+ui.Quoted(file))
	}
	defer f.Close()
	return tunnel.ReadText(f)
}

func doDown(e *env) error {
	dry, json := e.cli.Bool("dry-run"), e.cli.Bool("json")
	if namesMany(e) {
		return downMany(e, dry)
	}
	here := func(e *env, tunnel string) error { return downHere(e, tunnel, dry, json) }
	there := func(e *env, host string) error { return downThere(e, host, dry) }
	return onApplied(e, e.cli.String("tunnel"), here, there)
}

// onApplied works on a tunnel that was applied here, the named one or the only one, or makes
// another host do so.
func onApplied(e *env, named string, here, there func(*env, string) error) error {
	return onHost(e, func(e *env) error {
		tunnel, err := appliedTunnel(e, named)
		if err != nil || tunnel == "" {
			return err
		}
		return here(e, tunnel)
	}, there)
}

// onHost works on this machine, or makes the named host do so.
func onHost(e *env, here func(*env) error, there func(*env, string) error) error {
	this, err := e.thisHost()
	if err != nil {
		return err
	}
	name, err := e.oneName(func() (string, error) { return this, nil })
	if err != nil {
		return err
	}
	if name != this {
		return there(e, name)
	}
	return here(e)
}
