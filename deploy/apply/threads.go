package apply

import (
	"fmt"

	"wgkeys/deploy/apply/journal"
)

// Threads tells of the kernel's threads for a tunnel's peers.
//
// A kernel whose WireGuard has threaded NAPI (it reads 1 in
// /sys/class/net/wg0/threaded of a fresh interface; Linux 7.2 does, 6.12 does not)
// makes a thread for each peer (netif_napi_add, napi_kthread_create), which takes
// some 34 kB where a peer else takes some. A hub of thousands leaves a small host
// neither memory nor threads.
type Threads struct {
	Link   string // what the file of the link says: "0", "1"; "": there is no link yet, or no such file
	Likely bool   // where there is no link yet: a fresh one may read 1 on this kernel
	Max    int    // kernel.threads-max
}

// A ThreadsChange turns threaded NAPI of a link off or on. It is in no journal:
// the link is always one of ours, and takes the setting along when it goes.
type ThreadsChange struct {
	Link string
	On   bool
}

func (c ThreadsChange) Resource() journal.Resource { return journal.Threads.Of(c.Link) }
func (c ThreadsChange) Inverse() []Change          { c.On = !c.On; return []Change{c} }

func (c ThreadsChange) String() string {
	value := 0
	if c.On {
		value = 1
	}
	return fmt.Sprintf("echo %d > /sys/class/net/%s/threaded", value, c.Link)
}

func (ThreadsChange) entries(_ journal.Entries) []line                 { return nil }
func (ThreadsChange) restores(_ journal.Entry, _ journal.Entries) bool { return true }
func (ThreadsChange) trusted() bool                                    { return false }
func (ThreadsChange) traits() traits                                   { return traits{} }
func (ThreadsChange) TouchesKernel() bool                              { return true }
