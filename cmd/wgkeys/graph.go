package main

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/many"
	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/graph"
)

func graphCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "graph",
		UsageText: "wgkeys graph >>README.md\n" +
			"wgkeys graph -o wg0.svg --live",
		Usage: "draw a tunnel: which host can reach which, INSIDE and OUTSIDE",
		Description: "Formats: mermaid, for Markdown; dot, for Graphviz; svg. Without --format the ending of\n" +
			"FILE decides (.mmd, .dot, .svg), else it is mermaid. An arrow leads to a host\n" +
			"whose endpoint is known. With --live the hosts are asked for their handshakes, as in\n" +
			"wgkeys status.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "draw as `FORMAT`"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write `FILE`", DefaultText: "standard output"},
			&cli.BoolFlag{Name: "live", Usage: "ask the hosts for their handshakes"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "ask `N` hosts at once", Value: many.DefaultJobs},
			tunnelFlag, hostFlag, timeoutFlag,
		},
	}, doGraph
}

// drawings are how a graph is drawn, by format.
var drawings = map[string]func(*graph.Graph) string{
	"mermaid": (*graph.Graph).Mermaid,
	"dot":     (*graph.Graph).DOT,
	"svg":     (*graph.Graph).SVG,
}

func doGraph(e *env) error {
	if n := e.names(); len(n) > 0 {
		return ui.Usage("no names for", "wgkeys graph", "it draws all hosts of a tunnel", "wgkeys graph -t TUNNEL")
	}
	jobs := e.cli.Int("jobs")
	if jobs < 1 {
		return ui.Usage("-j must be at least 1", "", "", "wgkeys graph --help")
	}
	out := e.cli.String("output")
	format := drawingFormat(e.cli.String("format"), out)
	draw := drawings[format]
	if draw == nil {
		return ui.Usage("no such format", format, ui.Among(format, slices.Sorted(maps.Keys(drawings))), "wgkeys graph --format svg")
	}
	r, err := e.repo()
	if err != nil {
		return err
	}
	t, err := e.tunnel(r)
	if err != nil {
		return err
	}
	topology, err := tunnel.NewTopology(t)
	if err != nil {
		return err
	}
	g := &graph.Graph{Topology: topology, InWords: ui.InWords}
	var silent error
	if e.cli.Bool("live") {
		if silent, err = askHandshakes(e, r, g, jobs); err != nil {
			return err
		}
	}
	text := draw(g)
	if out == "" {
		e.ui.Printf("%s", text)
		return silent
	}
	return errors.Join(silent, writeOut(out, foreign.File{Text: []byte(text), Mode: "0644"}))
}

// drawingFormat is the format that was named, or that of the file's extension.
func drawingFormat(named, file string) string {
	if named != "" {
		return named
	}
	switch strings.ToLower(filepath.Ext(file)) {
	case ".svg":
		return "svg"
	case ".dot", ".gv":
		return "dot"
	}
	return "mermaid"
}

// askHandshakes asks the managed hosts of a graph for their handshakes. Silent is the error
// about those that did not answer.
func askHandshakes(e *env, r *repo.Repo, g *graph.Graph, jobs int) (silent, err error) {
	var managed []string
	for _, h := range g.Hosts {
		if !h.Unmanaged {
			managed = append(managed, h.Name)
		}
	}
	g.Live = map[string]map[string]*time.Duration{}
	if managed == nil {
		return nil, nil
	}
	all, err := remote.NewStatuses(r, g.Tunnel, managed)
	if err != nil {
		return nil, err
	}
	q := remote.Survey{Hosts: e.hosts, Repo: r, Jobs: jobs}
	step, end := e.ui.Progress("asking hosts")
	q.Step, q.Waits = step, func(hosts []string) {
		e.ui.Say("still asking %s (--timeout %v)", ui.Naming(hosts),
			timeoutOf(e))
	}
	q.Run(e.ctx, all)
	end()
	var errs []error
	for _, s := range all {
		if s.Err != nil {
			errs = append(errs, s.Err)
			continue
		}
		peers := map[string]*time.Duration{}
		for _, p := range s.Peers {
			peers[p.Name] = nil
			if p.Age != nil {
				age := time.Duration(*p.Age) * time.Second
				peers[p.Name] = &age
			}
		}
		g.Live[s.Host] = peers
	}
	return failures(len(errs), len(all), errors.Join(errs...)), nil
}
