package git

import (
	"context"
	"io/fs"
	"strconv"
	"strings"
)

// Shared returns the mode bits that files of the repository get for others than their
// owner, if core.sharedRepository asks for it (git-config(1)). Git applies it to its own
// files; for those of the working tree we have to.
func Shared(ctx context.Context, dir string) (fs.FileMode, error) {
	all, err := configured(ctx, dir, `^core\.sharedrepository$`)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	const group, everybody = 0o660, 0o664
	switch value := strings.ToLower(all[len(all)-1].value); value {
	case "umask", "false", "no", "off", "0":
		return 0, nil
	case "group", "true", "yes", "on", "1", "":
		return group, nil
	case "all", "world", "everybody", "2":
		return everybody, nil
	default:
		mode, err := strconv.ParseUint(value, 8, 32)
		if err != nil { // git itself says so
			return 0, nil
		}
		return fs.FileMode(mode) & 0o664, nil
	}
}
