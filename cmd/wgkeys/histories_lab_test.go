package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// A history is what two administrators do, each in a clone of his own, in any order, and
// what has to come of it: which keys the hosts have, and which they had.
type history struct {
	*labtest.Users
	random *rand.Rand
	live   map[string]string // the key of each host
	gone   map[string]bool   // keys that were replaced, or refused because they were stolen
	log    []string          // what was done
	counts map[string]int    // of commands, by verb and how they ended
	names  int               // that shale has had
}

var clones = []string{"/root/ann", "/root/ben"}

// TestLabHistories: no key that was replaced is taken again by any host, and none that is in
// use is lost, whatever two administrators do in which order. A clone that is behind is
// refused, and one that is not is served: a model says which it is.
func TestLabHistories(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, `wgkeys apply && wgkeys apply shale && ping -c 1 -w 20 2001:db8:ffff::1 >/dev/null || true
		git config --global user.name admin && git config --global user.email admin@example.net && git config --global init.defaultBranch main
		git config --global pull.rebase false && git init -q --bare /root/origin.git && git init -q && git add -A && git commit -q -m one &&
		git remote add origin /root/origin.git && git push -q -u origin main && git clone -q /root/origin.git /root/ann && git clone -q /root/origin.git /root/ben`)
	h := &history{Users: u, live: map[string]string{}, gone: map[string]bool{}, counts: map[string]int{}}
	for _, host := range []string{"basalt", "shale"} {
		h.live[host] = h.in(clones[0], host)
	}
	all := 1
	if long("histories") {
		all = 100
	}
	for n := range all {
		h.random, h.log = rand.New(rand.NewPCG(uint64(n), 1)), nil
		for range 7 {
			h.step()
			if t.Failed() {
				t.Fatalf("history %d:\n%s", n, strings.Join(h.log, "\n"))
			}
		}
		h.meet()
		if n%10 == 9 && n+1 < all {
			t.Logf("%d histories, %d keys replaced; %v", n+1, len(h.gone), h.counts)
		}
	}
	t.Logf("%d histories, %d keys replaced; %v", all, len(h.gone), h.counts)
}

// in is the key of a host in a clone.
func (h *history) in(clone, host string) string {
	return strings.TrimSpace(h.Read(h.Basalt, clone+"/keyring/"+h.name(clone, host)+"/wg0.pub"))
}

// name is what a host is called in a clone.
func (h *history) name(clone, host string) string {
	if host == "basalt" {
		return host
	}
	return strings.TrimSpace(h.Must(h.Basalt, "ls "+clone+"/keyring | grep ^shale"))
}

// move gives shale another name, of which both hear at once: with a key that is replaced
// under the old one git could not merge it.
func (h *history) move(clone string) {
	h.meet()
	h.names++
	h.do(clone, fmt.Sprintf("mv --commit -y -q %s shale%d", h.name(clone, "shale"), h.names), "", true)
	h.meet()
}

// step has one of the two do something, and looks what has come of it.
func (h *history) step() {
	clone := clones[h.random.IntN(2)]
	host := []string{"basalt", "shale"}[h.random.IntN(2)]
	switch n := h.random.IntN(13); {
	case n < 2:
		h.rotate(clone, host, "rotate -y --commit")
	case n < 3:
		h.rotate(clone, host, "rotate -y --now --commit")
	case n < 5:
		h.do(clone, "push", host, h.knows(clone, host))
	case n < 7:
		h.do(clone, "apply", host, h.knows(clone, "basalt") && h.knows(clone, "shale"))
	case n < 9:
		h.git(clone, "git pull -q --no-edit")
	case n < 11:
		h.git(clone, "git push -q")
	case n < 12: // what was before is brought back by hand, and applied
		h.older(clone, host)
	default:
		h.move(clone)
	}
	h.look()
}

func (h *history) knows(clone, host string) bool { return h.in(clone, host) == h.live[host] }

// do runs a verb, which has to succeed where ok says so, and to tell that the clone is
// behind elsewhere.
func (h *history) do(clone, verb, host string, ok bool) {
	h.Helper()
	if host != "" {
		host = h.name(clone, host)
	}
	r := h.Run(h.Basalt, "cd "+clone+" && wgkeys "+verb+" "+host)
	h.log = append(h.log, fmt.Sprintf("%s: %s %s: exit %d (%s)", clone, verb, host, r.Code, strings.TrimSpace(r.Stderr)))
	named, _, _ := strings.Cut(verb, " shale") // and not each of its names
	h.counts[fmt.Sprintf("%s %d", named, r.Code)]++
	behind := strings.Contains(r.Stderr, "git pull") || strings.Contains(r.Stderr, "its history has that key")
	if (r.Code == 0) != ok || !ok && !behind {
		h.Errorf("%s %s in %s: exit %d, and it should succeed: %v", verb, host, clone, r.Code, ok)
	}
}

func (h *history) rotate(clone, host, verb string) {
	old, ok := h.live[host], h.knows(clone, host)
	h.do(clone, verb, host, ok) // that of the other host it asks for there
	if now := h.in(clone, host); ok && now != old {
		h.live[host], h.gone[old] = now, true
	}
	if strings.Contains(verb, "--now") {
		h.Until("the next key to be in use",
			func() bool { return strings.Contains(h.Must(h.host(host), "wg show wg0 public-key"), h.live[host]) })
	}
	h.Run(h.Basalt, "ping -c 1 -w 10 2001:db8:ffff::1")
}

func (h *history) other(host string) string {
	if host == "basalt" {
		return "shale"
	}
	return "basalt"
}

func (h *history) host(name string) *lab.Host {
	if name == "basalt" {
		return h.Basalt
	}
	return h.Shale
}

// git runs a command of git's, of which a push may find that it has to pull first.
func (h *history) git(clone, command string) {
	r := h.Run(h.Basalt, "cd "+clone+" && "+command)
	h.log = append(h.log, fmt.Sprintf("%s: %s: exit %d (%s)", clone, command, r.Code, strings.TrimSpace(r.Stderr)))
	h.counts[strings.Join(strings.Fields(command)[:2], " ")]++
	if r.Code != 0 && !strings.HasPrefix(command, "git push") {
		h.Errorf("%s: %s: %s%s", clone, command, r.Stdout, r.Stderr)
	}
}

func (h *history) older(clone, host string) {
	if r := h.Run(h.Basalt, "cd "+clone+" && git restore -q --source HEAD~2 ."); r.Code != 0 {
		return // there are not as many commits
	}
	h.do(clone, "push", host, h.knows(clone, host))
	h.do(clone, "apply", host, h.knows(clone, "basalt") && h.knows(clone, "shale"))
	h.Must(h.Basalt, "cd "+clone+" && git reset -q --hard && git clean -fdq")
}

// look sees that the hosts have the keys of the model, and none that is gone.
func (h *history) look() {
	h.Helper()
	for _, name := range []string{"basalt", "shale"} {
		said := strings.Fields(h.Must(h.host(name),
			"wg show wg0 public-key; wg show wg0 peers; wg pubkey </etc/wireguard/wg0.key"))
		want := []string{h.live[name], h.live[h.other(name)], h.live[name]}
		if !slices.Equal(said, want) {
			h.Errorf("%s has %v, want %v", name, said, want)
		}
		for _, key := range said {
			if h.gone[key] {
				h.Errorf("%s has the key %s, which was replaced", name, key)
			}
		}
	}
}

// meet has the two end with the same commit. All keys in use are there, and open.
func (h *history) meet() {
	h.Helper()
	h.Must(h.Basalt, "cd /root/ann && git pull -q --no-edit && git push -q && cd /root/ben && git pull -q --no-edit && git push -q && cd /root/ann && git pull -q --no-edit")
	for _, clone := range clones {
		for host, key := range h.live {
			if h.in(clone, host) != key {
				h.Errorf("the key of %s is lost in %s:\n%s", host, clone, strings.Join(h.log, "\n"))
			}
		}
		h.Must(h.Basalt, "cd "+clone+" && wgkeys check -q -i /root/.config/wgkeys/identity.txt && git diff --quiet")
	}
}
