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

// withoutFilters makes a git run none of the filters that the attributes of the working
// tree name (gitattributes(5), "filter"); otherwise it would, to compare a file with the
// index. A file that a filter changes then counts as different.
func withoutFilters(ctx context.Context, dir string, c *exec.Cmd) (*exec.Cmd, error) {
	names, err := filters(ctx, dir)
	if err != nil {
		return nil, err
	}
	// They are passed as variables, since a name with "=" cannot be passed as an argument.
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

// filters returns the names of the filters in the configuration.
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

// A setting is one of git's, with the scope of its file: "local" is the repository's own
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
