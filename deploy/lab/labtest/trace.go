package labtest

import (
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/lazyregexp"
)

// A Request is what a program sent to a netlink socket in one call.
type Request struct {
	Protocol int // such as unix.NETLINK_ROUTE
	Bytes    []byte
}

// TraceArgs returns the arguments with which strace(1) writes a trace for [Requests].
func TraceArgs(file string) []string {
	return strings.Fields("-f -qq --seccomp-bpf -e trace=socket,sendto,sendmsg,clone,clone3,fork,vfork,execve" +
		" -e raw=sendto,sendmsg -e write=all -e signal=none -o " + file)
}

var (
	unfinished = lazyregexp.New(`^(\d+) +(.*) <unfinished \.\.\.>$`)
	resumed    = lazyregexp.New(`^(\d+) +<\.\.\. \w+ resumed>(.*)$`)
	ended      = lazyregexp.New(`^(\d+) +(\w+)\((.*)\) += (\w+)`)
	dumped     = lazyregexp.New(`^ \| [0-9a-f]{5}  ([0-9a-f ]{48})`) // sixteen bytes in hexadecimal
	executed   = lazyregexp.New(`^"([^"]*)"`)
	opened     = lazyregexp.New(`^AF_NETLINK, .*, NETLINK_(\w+)$`)
	protocols  = map[string]int{"ROUTE": unix.NETLINK_ROUTE, "GENERIC": unix.NETLINK_GENERIC,
		"NETFILTER": unix.NETLINK_NETFILTER, "SOCK_DIAG": unix.NETLINK_SOCK_DIAG}
)

// A call is a finished system call with the bytes that it wrote.
type call struct {
	process, name, arguments, result string
	bytes                            []byte
}

// A traced is a process. Its threads share it.
type traced struct {
	program string
	sockets map[string]int // netlink protocol by file descriptor
}

// Requests returns the netlink requests in a trace that came from a program, given by its
// path. When a process executes /proc/self/exe, the program stays the same.
func Requests(trace, program string) (requests []Request) {
	calls := readTrace(trace)
	ps := processes{known: map[string]*traced{}, made: map[string]call{}}
	for _, c := range calls {
		if strings.HasPrefix(c.name, "clone") || strings.HasSuffix(c.name, "fork") {
			ps.made[c.result] = c
		}
	}
	for _, c := range calls {
		p := ps.find(c.process)
		protocol, isRequest := p.follow(c)
		if isRequest && p.program == program {
			requests = append(requests, Request{protocol, c.bytes})
		}
	}
	return requests
}

// processes are the processes of a trace by ID. A child may appear before the call that
// made it has ended, so all of these calls are collected before any other call is followed.
type processes struct {
	known map[string]*traced
	made  map[string]call // by the ID of the child
}

func (ps processes) find(id string) *traced {
	if ps.known[id] != nil {
		return ps.known[id]
	}
	p := &traced{sockets: map[string]int{}}
	if parent, ok := ps.made[id]; ok {
		p = ps.find(parent.process)
		if !strings.Contains(parent.arguments, "CLONE_THREAD") {
			p = &traced{p.program, maps.Clone(p.sockets)}
		}
	}
	ps.known[id] = p
	return p
}

// follow records what a call changes in its process. If the call sends to a netlink socket,
// it returns the protocol.
func (p *traced) follow(c call) (protocol int, isRequest bool) {
	switch c.name {
	case "execve":
		if m := executed().FindStringSubmatch(c.arguments); m != nil && c.result == "0" && m[1] != "/proc/self/exe" {
			p.program = m[1]
		}
	case "socket":
		delete(p.sockets, c.result)
		if m := opened().FindStringSubmatch(c.arguments); m != nil {
			p.sockets[c.result] = protocols[m[1]]
		}
	case "sendto", "sendmsg":
		fd, _, _ := strings.Cut(c.arguments, ",")
		number, _ := strconv.ParseInt(fd, 0, 32) // strace prints the arguments of sendto and sendmsg raw
		protocol, isRequest = p.sockets[strconv.FormatInt(number, 10)]
	}
	return protocol, isRequest
}

// readTrace parses the calls of a trace. It joins the two parts of a call that others
// interrupted, and adds the bytes of a call.
func readTrace(trace string) (calls []call) {
	begun := map[string]string{}
	for line := range strings.Lines(trace) {
		line = strings.TrimRight(line, "\n")
		if m := unfinished().FindStringSubmatch(line); m != nil {
			begun[m[1]] = line[:len(line)-len("<unfinished ...>")]
			continue
		}
		if m := resumed().FindStringSubmatch(line); m != nil {
			line = begun[m[1]] + m[2]
		}
		if m := ended().FindStringSubmatch(line); m != nil {
			calls = append(calls, call{process: m[1], name: m[2], arguments: strings.TrimSpace(m[3]), result: m[4]})
		}
		if m := dumped().FindStringSubmatch(line); m != nil && len(calls) > 0 {
			b, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
			if err == nil {
				last := &calls[len(calls)-1]
				last.bytes = slices.Concat(last.bytes, b)
			}
		}
	}
	return calls
}
