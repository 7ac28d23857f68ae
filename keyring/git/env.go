package git

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// elsewhere reports whether a variable of the environment leads git to another repository
// than that of the folder.
func elsewhere(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains([]string{"GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX"}, name)
}

// ownIndex keeps GIT_INDEX_FILE, from which a hook gets its index, unless that is the index of
// another repository than that of dir: so it is in a hook of that one.
func ownIndex(dir string, env []string) []string {
	const variable = "GIT_INDEX_FILE="
	return slices.DeleteFunc(env, func(v string) bool {
		index, ok := strings.CutPrefix(v, variable)
		if !ok {
			return false
		}
		if !filepath.IsAbs(index) { // it is relative to the top of the working tree
			top, err := Top(".")
			if err != nil {
				return false
			}
			index = filepath.Join(top, index)
		}
		folder := filepath.Dir(index)
		return isGitDir(folder) && !sameFile(folder, gitDir(dir))
	})
}

// isGitDir reports whether a folder is one in which git keeps a repository, or what belongs to
// one linked working tree alone (gitrepository-layout(5)).
func isGitDir(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "HEAD"))
	return err == nil
}

// gitDir is that folder of the working tree of dir; "": there is none.
func gitDir(dir string) string {
	top, err := Top(dir)
	if err != nil {
		return ""
	}
	path := filepath.Join(top, ".git")
	text, err := os.ReadFile(path)
	if err != nil { // it is the folder itself
		return path
	}
	path = strings.TrimRight(strings.TrimPrefix(string(text), "gitdir: "), "\r\n")
	if !filepath.IsAbs(path) {
		path = filepath.Join(top, path)
	}
	return path
}

func sameFile(a, b string) bool {
	one, err1 := os.Stat(a)
	two, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, two)
}
