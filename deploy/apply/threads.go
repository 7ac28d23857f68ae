package apply

import "fmt"

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

func (c ThreadsChange) Resource() string  { return "threads " + c.Link }
func (c ThreadsChange) Inverse() []Change { c.On = !c.On; return []Change{c} }

func (c ThreadsChange) String() string {
	value := 0
	if c.On {
		value = 1
	}
	return fmt.Sprintf("echo %d > /sys/class/net/%s/threaded", value, c.Link)
}

// threadShare is which part of the threads that the kernel allows may be those of
// peers. It allows as many as fill an eighth of the memory with their stacks of
// 16 KiB (set_max_threads in kernel/fork.c), so a sixteenth of them, at 34 kB each,
// is below a fiftieth of the memory.
const threadShare = 16

// setThreads comes before the peers, whose threads are made with them.
func setThreads(p *planner) {
	t := p.state.Threads
	fresh := p.state.Link == nil && t.Likely
	if n := len(p.view.Peers); n*threadShare > t.Max && t.Max > 0 && (t.Link == "1" || fresh) {
		p.step(ThreadsChange{p.view.Tunnel, false}, "%d peers would have a thread each, and the host has room for %d threads in all (kernel.threads-max)", n, t.Max)
	}
}
