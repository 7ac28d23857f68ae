package main

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wgkeys/cmd/internal/faulttest"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// At each step of a rotation, before and after it, something happens, one at a
// time: the process at the step is killed, or the controller while a part goes
// on, or the link between the hosts is cut for three seconds. Traffic flows again
// by itself; no key is lost; and the next rotation ends well and leaves nothing.
// Where both processes of a participant are killed, or the host reboots, traffic may
// stop until then.
//
// All points take most of an hour: -long faults takes each, the
// default some. -fault-point takes those with these words in them.
func TestLabRotateFaults(t *testing.T) {
	t.Parallel()
	sweepRotation(t, "")
}

// The same where hosts make their keys themselves and keep them.
func TestLabRotateFaultsOnHost(t *testing.T) {
	if !long("faults") {
		t.Skip("for make faults")
	}
	sweepRotation(t, "--on-host")
}

func sweepRotation(t *testing.T, flags string) {
	m := newMesh(t, labtest.MeshOptions{Hosts: 2})
	m.StartStreams(100)
	s := &faultSweep{flags: flags, longest: map[string]time.Duration{}, ended: map[string]int{}}
	for _, h := range m.Hosts {
		s.list(m, h)
	}
	s.choose()
	t.Run("lab", func(t *testing.T) {
		for i := range faultLabs() {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				s.work(t, i, m)
			})
		}
	})
	s.tell(t)
}

// faultLabs is how many laboratories share the cases. Most of a case is waiting.
func faultLabs() int {
	if *faultsIn > 0 {
		return *faultsIn
	}
	return runtime.GOMAXPROCS(0)
}

// A faultCase is one thing that happens in one rotation.
type faultCase struct {
	host  int // whose key is replaced
	on    int // where it happens
	how   string
	point string
}

func (c faultCase) String() string {
	return fmt.Sprintf("%s's key, on %s, %s %s", labtest.MeshNames[c.host], labtest.MeshNames[c.on], c.how, c.point)
}

// heals reports whether traffic has to flow again without anybody.
func (c faultCase) heals() bool { return c.how != killBoth && c.how != reboot }

// What can happen.
const (
	killOne        = "kill"            // the process at the point
	cutLink        = "cut"             // the link, for a while
	killController = "kill controller" // while a part is at the point
	killBoth       = "kill both"       // processes of the part
	standStill     = "delay"           // the process stands still for a while
	standLong      = "delay long"      // for longer than anybody waits for it
	reboot         = "reboot"          // the host of the part
)

// cutFor is how long the link is cut, healing how long traffic may take to flow
// again after that.
const (
	cutFor  = 3 * time.Second  // a process that stands still does that for as long
	longFor = 20 * time.Second // or for this: more than the time for the proof, and to go back
	healing = 15 * time.Second
)

// lasts is how long it takes.
func (c faultCase) lasts() time.Duration {
	return map[string]time.Duration{cutLink: cutFor, standStill: cutFor, standLong: longFor}[c.how]
}

type faultSweep struct {
	flags   string // of wgkeys rotate
	mu      sync.Mutex
	cases   []faultCase
	next    int
	done    int
	longest map[string]time.Duration // by what happened: until traffic flowed
	ended   map[string]int           // by the key that was in use then
}

// list prints the steps of an undisturbed rotation.
func (s *faultSweep) list(m *labtest.Mesh, of *lab.Host) {
	m.Helper()
	for _, h := range m.Hosts {
		m.Write(h, faulttest.StepsFile, "")
	}
	rotateKey(m, of, s.flags)
	host := slices.Index(m.Hosts, of)
	for on, h := range m.Hosts {
		m.Until("the participants to end", func() bool { return participantsOn(m, h) == "" })
		var seen []string
		for point := range strings.Lines(m.Read(h, faulttest.StepsFile)) {
			if point = strings.TrimSpace(point); !slices.Contains(seen, point) {
				seen = append(seen, point)
			}
		}
		m.Must(h, "rm "+faulttest.StepsFile)
		for _, point := range seen {
			for _, how := range hows(point) {
				s.cases = append(s.cases, faultCase{host, on, how, point})
			}
		}
	}
}

// hows are what can happen at a point.
func hows(point string) []string {
	if !strings.Contains(point, "switch: ") && !strings.Contains(point, "watcher: ") {
		return []string{killOne, cutLink, standStill, standLong}
	}
	all := []string{killOne, cutLink, killController, killBoth, standStill, standLong}
	if strings.Contains(point, "after") && (strings.Contains(point, "look") || strings.Contains(point, "save")) {
		all = append(all, reboot)
	}
	return all
}

// choose takes a sample. The stride is prime, so that it meets cases of each kind.
func (s *faultSweep) choose() {
	stride := 193
	if long("faults") {
		stride = 1
	}
	var chosen []faultCase
	for _, c := range s.cases {
		if strings.Contains(c.String(), *faultPoint) {
			chosen = append(chosen, c)
		}
	}
	s.cases = nil
	for i := 0; i < len(chosen); i += stride {
		s.cases = append(s.cases, chosen[i])
	}
}

// take returns the next case.
func (s *faultSweep) take() (faultCase, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == len(s.cases) {
		return faultCase{}, false
	}
	s.next++
	return s.cases[s.next-1], true
}

// work takes cases until none is left, in a laboratory of its own but for the
// first. One in which a case failed is not used again.
func (s *faultSweep) work(t *testing.T, number int, m *labtest.Mesh) {
	fresh := func(t *testing.T) *labtest.Mesh {
		m := newMesh(t, labtest.MeshOptions{Hosts: 2})
		m.StartStreams(100)
		return m
	}
	if m = m.With(t); number > 0 {
		m = fresh(t)
	}
	for c, ok := s.take(); ok; c, ok = s.take() {
		if !t.Run(c.String(), func(t *testing.T) { s.try(m.With(t), c) }) {
			m = fresh(t)
		}
	}
}

func (s *faultSweep) tell(t *testing.T) {
	t.Logf("%d cases: the longest until traffic flowed: %v; the keys in use then: %v", s.done, s.longest, s.ended)
}

// try has one thing happen, and looks what becomes of it.
func (s *faultSweep) try(m *labtest.Mesh, c faultCase) {
	m.Helper()
	h := m.Hosts[c.host]
	old, secret := keysOf(m, h)
	secrets := map[string]bool{secret: true}
	for _, s := range m.Streams {
		s.Mark()
	}
	first := rotateDisturbed(m, c, s.flags)
	outage := recovered(m, c)

	key, ended := liveKey(m, h), "next"
	if key == old {
		ended = "old"
	}
	isKept(m, h, key, s.flags != "")
	if _, secret := keysOf(m, h); ended == "next" {
		secrets[secret] = true
	}
	second := m.Run(m.Hosts[0], "wgkeys rotate -y -v "+h.Name())
	if second.Code != 0 {
		m.Errorf("the next rotation: exit %d\n%s%s", second.Code, second.Stdout, second.Stderr)
	}
	m.Settle()
	if liveKey(m, h) == old {
		m.Error("the key is the old one after the next rotation")
	}
	delete(secrets, secretOf(m, h)) // the next rotation has finished the first one
	nothingLeft(m, secrets)
	noRotation(m)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	s.longest[c.how] = max(s.longest[c.how], outage.Round(time.Millisecond))
	s.ended[ended]++
	if m.Failed() {
		m.Logf("traffic flowed after %v, with the %s key; the first rotation: exit %d\n%s%s\nthe next one: exit %d\n%s%s",
			outage, ended,
			first.Code, first.Stdout, first.Stderr, second.Code, second.Stdout, second.Stderr)
	} else {
		m.Logf("traffic flowed after %v, with the %s key; exit %d", outage.Round(time.Millisecond), ended, first.Code)
	}
}

// rotateDisturbed rotates, and has the thing happen.
func rotateDisturbed(m *labtest.Mesh, c faultCase, flags string) labtest.Result {
	m.Helper()
	order := "pause "
	if c.how == killOne {
		order = "kill "
	}
	on := m.Hosts[c.on]
	m.Write(on, faulttest.FaultFile, order+c.point)
	ended := make(chan labtest.Result, 1)
	go func() {
		ended <- m.Run(m.Hosts[0], "echo $$ >/root/controller; exec wgkeys rotate -y -v "+flags+" "+m.Hosts[c.host].Name())
	}()
	var first labtest.Result
	over := false
	m.Until("the step", func() bool {
		select {
		case first = <-ended:
			over = true
		default:
		}
		_, err := on.ReadFile(faulttest.HitFile)
		return err == nil || over
	})
	if _, err := on.ReadFile(faulttest.HitFile); err != nil {
		m.Must(on, "rm "+faulttest.FaultFile)
		m.Fatalf("the point was not reached: exit %d\n%s%s", first.Code, first.Stdout, first.Stderr)
	}
	m.Must(on, "rm "+faulttest.HitFile)
	happen(m, c)
	if !over {
		first = <-ended
	}
	return first
}

// happen does it while the process is paused, and lets it go on.
func happen(m *labtest.Mesh, c faultCase) {
	m.Helper()
	on := m.Hosts[c.on]
	switch c.how {
	case killOne:
		return
	case cutLink:
		m.Must(m.Router, "sysctl -q -w net.ipv4.ip_forward=0")
		m.Write(on, faulttest.GoFile, "")
		time.Sleep(c.lasts())
		m.Must(m.Router, "sysctl -q -w net.ipv4.ip_forward=1")
		return
	case standStill, standLong:
		time.Sleep(c.lasts())
	case killController:
		m.Must(m.Hosts[0], "kill -9 $(cat /root/controller) 2>/dev/null || true") // it may be through
	case killBoth:
		m.Must(on, killParticipant)
	case reboot:
		m.Must(on, bootHost)
	}
	m.Write(on, faulttest.GoFile, "")
}

// killParticipant ends both processes of a participant, bootHost all that a reboot ends: also one
// that another has started while it was looked for. What the laboratory itself needs
// is left.
const (
	killParticipant = `for p in /proc/[0-9]*; do
	[ "$(tr '\0' ' ' <$p/cmdline 2>/dev/null | cut -d' ' -f1)" != wgkeys-turn ] || kill -9 "${p#/proc/}"
done`
	bootHost = `found=yes
while [ -n "$found" ]; do
	found=
	for p in /proc/[0-9]*; do
		case "$(tr '\0' ' ' <$p/cmdline 2>/dev/null)" in wgkeys-turn*|wgkeys-device*|wgkeys*turn*|"wgkeys rotate"*) found=yes; kill -9 "${p#/proc/}";; esac
	done
done
ip link del wg0 2>/dev/null
nft flush ruleset
find /run -mindepth 1 -maxdepth 1 ! -name sshd -exec rm -rf {} +
mkdir -p /run/wireguard
wgkeys apply -q --view /etc/wgkeys/wg0.view`
)

// recovered waits until traffic flows in all streams and tells how long that
// took.
func recovered(m *labtest.Mesh, c faultCase) time.Duration {
	m.Helper()
	begin := time.Now()
	for {
		from := time.Now()
		if m.Flowing() {
			break
		}
		if time.Since(begin) > healing {
			if c.heals() {
				m.Errorf("nothing flows %v after it", healing)
			}
			break
		}
		if from.Sub(begin) > time.Minute {
			break
		}
	}
	var gap time.Duration
	for _, s := range m.Streams {
		gap = max(gap, s.Longest())
	}
	return max(0, gap-c.lasts())
}

func liveKey(m *labtest.Mesh, h *lab.Host) string {
	m.Helper()
	return strings.TrimSpace(m.Must(h, "wg show wg0 public-key"))
}

func secretOf(m *labtest.Mesh, h *lab.Host) string {
	m.Helper()
	return strings.TrimSpace(m.Read(h, keyFile))
}

// isKept sees that the vault has the private key of the public one, or else the
// host a file of it where it keeps its key to itself.
func isKept(m *labtest.Mesh, h *lab.Host, public string, onHost bool) {
	m.Helper()
	out := ""
	if onHost {
		out = m.Must(h, "for f in /etc/wireguard/wg0.key /etc/wireguard/wg0.next.key; do [ ! -e $f ] || wg pubkey <$f; done")
	}
	out += m.Must(m.Hosts[0], "for f in vault/"+h.Name()+"/wg0.key.age vault/"+h.Name()+"/wg0.next.key.age; do "+
		"[ ! -e $f ] || age -d -i ~/.config/wgkeys/identity.txt $f | wg pubkey; done")
	if !slices.Contains(strings.Fields(out), public) {
		m.Errorf("%s uses the key %s, and what is kept are those of %q", h.Name(), public, strings.Fields(out))
	}
}

// participantsOn are the processes of a host that take part in a rotation.
func participantsOn(m *labtest.Mesh, h *lab.Host) string {
	m.Helper()
	return m.Must(h, strings.Replace(killParticipant, "kill -9", "echo", 1))
}

// noRotation sees that no host has anything of a rotation under way.
func noRotation(m *labtest.Mesh) {
	m.Helper()
	for _, h := range m.Hosts {
		m.Until("the participants on "+h.Name()+" to end", func() bool { return participantsOn(m, h) == "" })
		left := m.Must(h, "find /etc/wireguard -name '*next*'; nft list tables | grep hold || true")
		if left != "" {
			m.Errorf("left on %s: %s", h.Name(), left)
		}
	}
}
