package needs

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/rule"
	"wgkeys/deploy/tunnel"
)

// ObserveFiles reads what the host's own files set those parameters to that the state has, if the
// view may need one. They are read again by "sysctl --system", and when packages are upgraded.
func ObserveFiles(s *apply.State, view *tunnel.View) {
	if view == nil || !view.Forward && len(view.Sysctls) == 0 && !rule.MayNeedPolicyRouting(view) {
		return
	}
	last := map[string]apply.FileSetting{}
	for _, file := range inOrder(sysctlPaths()) {
		text, _ := os.ReadFile(file)
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			if key, value, ok := assignment(line); ok && s.Sysctls[key] != "" {
				last[key] = apply.FileSetting{File: file, Line: n, Key: key, Value: value}
			}
		}
	}
	for _, setting := range last {
		s.Files = append(s.Files, setting)
	}
	slices.SortFunc(s.Files, func(a, b apply.FileSetting) int { return cmp.Compare(a.Key, b.Key) })
}

// inOrder are the files that count, the last one last: of those with one name the first, by their
// names (sysctl.d(5)), and then /etc/sysctl.conf (sysctl(8)).
func inOrder(paths []string) (files []string) {
	byName := map[string]string{}
	for _, p := range slices.Backward(paths[1:]) {
		byName[filepath.Base(p)] = p
	}
	for _, p := range byName {
		files = append(files, p)
	}
	slices.SortFunc(files, func(a, b string) int { return cmp.Compare(filepath.Base(a), filepath.Base(b)) })
	return append(files, paths[0])
}

// sysctlPaths are /etc/sysctl.conf and the files of sysctl.d(5), by the order of their folders.
func sysctlPaths() []string {
	paths := []string{"/etc/sysctl.conf"}
	for _, dir := range []string{"/etc", "/run", "/usr/local/lib", "/usr/lib"} {
		in, _ := filepath.Glob(dir + "/sysctl.d/*.conf") // the pattern is valid
		paths = append(paths, in...)
	}
	return paths
}

// assignment parses a line of sysctl.d(5). A comment, or a line without a value, is none; a pattern
// such as net.ipv4.conf.*.forwarding names no parameter.
func assignment(line string) (key, value string, ok bool) {
	name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "-"), "=")
	key, err := tunnel.SysctlPath(strings.TrimSpace(name))
	return key, strings.TrimSpace(value), ok && err == nil
}
