package former

import (
	"context"
	"os/exec"
	"slices"
	"strings"
)

// removeRules removes what wg-quick has in the tables of iptables for a tunnel with a
// default route (add_default in its text), and keeps it for the way back.
func (r *Record) removeRules(ctx context.Context) error {
	for _, program := range []string{"iptables", "ip6tables"} {
		text := listRules(ctx, program, r.Link)
		if text == "" {
			continue
		}
		r.Rules = append(r.Rules, Rules{program, text})
		if err := r.Save(); err != nil {
			return err
		}
		if err := restoreRules(ctx, program, strings.ReplaceAll(text, "\n-A ", "\n-D ")); err != nil {
			return err
		}
	}
	return nil
}

// putBackRules has them where wg-quick inserts them: before the others of their chains.
func (r *Record) putBackRules(ctx context.Context) error {
	for _, rules := range r.Rules {
		text := inserting(rules.Text, listRules(ctx, rules.Program, r.Link))
		if text == "" {
			continue
		}
		if err := restoreRules(ctx, rules.Program, text); err != nil {
			return err
		}
	}
	r.Rules = nil
	return r.Save()
}

// listRules lists wg-quick's rules of an interface; "" where there are none, or is no such
// program.
func listRules(ctx context.Context, program, link string) string {
	if _, err := exec.LookPath(program + "-save"); err != nil {
		return ""
	}
	out, err := run(ctx, "", program+"-save")
	if err != nil {
		return ""
	}
	return rulesOf(out, link)
}

func restoreRules(ctx context.Context, program, text string) error {
	_, err := run(ctx, text, program+"-restore", "--noflush", "--wait", "5")
	return err
}

// rulesOf takes from a list those tables that have rules of wg-quick for an interface, with
// these rules alone: remove_firewall in its text knows them by the same comment.
func rulesOf(list, link string) string {
	mark := `-m comment --comment "wg-quick(8) rule for ` + link + `"`
	var text, table strings.Builder
	for line := range strings.Lines(list) {
		switch {
		case strings.HasPrefix(line, "*"):
			table.Reset()
			table.WriteString(line)
		case strings.HasPrefix(line, "-A ") && strings.Contains(line, mark):
			table.WriteString(line)
		case strings.HasPrefix(line, "COMMIT") && strings.Contains(table.String(), "\n-A "):
			text.WriteString(table.String() + line)
		}
	}
	return text.String()
}

// inserting is a list of rules that have them inserted, in their order, but for those that
// are there; "" if all are.
func inserting(list, there string) string {
	var text strings.Builder
	present := slices.Collect(strings.Lines(there))
	table, rules := "", []string{}
	for line := range strings.Lines(list) {
		switch {
		case strings.HasPrefix(line, "*"):
			table, rules = line, nil
		case strings.HasPrefix(line, "COMMIT") && len(rules) > 0:
			slices.Reverse(rules) // each comes before the one that was inserted before
			text.WriteString(table + strings.Join(rules, "") + line)
		case strings.HasPrefix(line, "-A ") && !slices.Contains(present, line):
			rules = append(rules, "-I "+strings.TrimPrefix(line, "-A "))
		}
	}
	return text.String()
}
