package git

import "os"

// maySetID reports whether this process may become another user.
func maySetID() bool { return os.Geteuid() == 0 }
