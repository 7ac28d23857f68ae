package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// withoutFilters has a git run none of the filters that the attributes of the working
// tree name (gitattributes(5), "filter"): it would, to compare a file with the index.
// A file that one of them has changed counts as different then.
func withoutFilters(ctx context.Context, dir string, c *exec.Cmd) (*exec.Cmd, error) {
	names, err := filters(ctx, dir)
	if err != nil {
		return nil, err
	}
	// As variables, for there is a name that no argument can carry: one with "=".
	n := 0
	for _, v := range c.Env {
		if count, ok := strings.CutPrefix(v, "GIT_CONFIG_COUNT="); ok {
			n, _ = strconv.Atoi(count)
		}
	}
	set := func(key, value string) {
		c.Env = append(c.Env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", n, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", n, value))
		n++
	}
	for _, name := range names {
		for _, what := range []string{"clean", "smudge", "process"} {
			set("filter."+name+"."+what, "")
		}
		set("filter."+name+".required", "false")
	}
	c.Env = append(c.Env, "GIT_CONFIG_COUNT="+strconv.Itoa(n))
	return c, nil
}

// filters are the names of those that some configuration has.
func filters(ctx context.Context, dir string) (names []string, err error) {
	keys, err := configured(ctx, dir, `^filter\..*\.(clean|smudge|process|required)$`)
	for _, key := range keys {
		name := key.name[len("filter."):]
		if name = name[:strings.LastIndexByte(name, '.')]; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, err
}

// A setting is one of git's, and which file it is of: "local" for the repository's own
// (git-config(1), "SCOPES").
type setting struct{ scope, name, value string }

// configured returns the settings whose name matches.
func configured(ctx context.Context, dir, pattern string) (all []setting, err error) {
	var out, said bytes.Buffer
	c := command(ctx, dir, "config", "--show-scope", "--null", "--get-regexp", pattern)
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
			return nil, nil // there is none
		}
		return nil, failed(ctx, c, err, dir, said.String())
	}
	fields := strings.Split(out.String(), "\x00")
	for i := 0; i+1 < len(fields); i += 2 { // SCOPE, NAME\nVALUE
		name, value, _ := strings.Cut(fields[i+1], "\n")
		all = append(all, setting{fields[i], name, value})
	}
	return all, nil
}
