package former

import (
	"context"
	"os/exec"
	"slices"
	"strings"
)

// removeRules removes wg-quick's rules in iptables for a tunnel with a default route
// (add_default in its source), and saves them.
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

// putBackRules inserts them where wg-quick does: before the others in their chains.
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

// listRules lists wg-quick's rules for an interface; "" if there are none, or no iptables.
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

// rulesOf returns the tables in a list that have rules of wg-quick for an interface, with
// these rules only: remove_firewall in its source recognizes them by the same comment.
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

// inserting is a list that inserts the rules in their order, except those that exist; "" if
// all do.
func inserting(list, there string) string {
	var text strings.Builder
	present := slices.Collect(strings.Lines(there))
	table, rules := "", []string{}
	for line := range strings.Lines(list) {
		switch {
		case strings.HasPrefix(line, "*"):
			table, rules = line, nil
		case strings.HasPrefix(line, "COMMIT") && len(rules) > 0:
			slices.Reverse(rules) // each is inserted before the previous one
			text.WriteString(table + strings.Join(rules, "") + line)
		case strings.HasPrefix(line, "-A ") && !slices.Contains(present, line):
			rules = append(rules, "-I "+strings.TrimPrefix(line, "-A "))
		}
	}
	return text.String()
}
