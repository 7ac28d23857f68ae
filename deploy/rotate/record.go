package rotate

import (
	"time"

	"wgkeys/keyring"
)

// A Phase is the state of one host in a rotation.
type Phase string

const (
	Armed    Phase = "armed"    // ready; nothing has changed
	switched Phase = "switched" // the next key is in use, and may have to be given up
	back     Phase = "back"     // the old key is in use again
	Kept     Phase = "kept"     // the next key, permanently
	returned Phase = "returned" // the old key, permanently, or the state that Why describes
)

// How long things may take.
const (
	// deadMan is how long the switch waits for proof at least. WireGuard begins a handshake
	// again after 5 s (REKEY_TIMEOUT), so one may be lost. perPeer is added for each peer,
	// whose handshake takes time of the host and, if they share a machine or a line, of the
	// others; mostProof is the limit: a peer that is cut off is without the host for so
	// long.
	deadMan   = 8 * time.Second
	perPeer   = 50 * time.Millisecond
	mostProof = 30 * time.Second

	// tail is how much longer a watcher stays after the switch can no longer go back.
	tail = 7 * time.Second

	// returnMost is how long after its time the switch can still go back: until then all
	// watchers see it.
	returnMost = tail - 2*time.Second

	// changeMost is how long the switch may take from its decision to the change of the key,
	// beginMost how long before the end of the watchers' wait it decides at the latest.
	changeMost = 5 * time.Second
	beginMost  = 15 * time.Second

	// lookMost is how old what the switch has seen may be.
	lookMost = time.Second

	// doubt is how long a watcher keeps to a key that does not answer while packets come
	// with the other one.
	doubt = 2 * time.Second

	// stragglers is how long packets may arrive that the other key sent earlier: they do not
	// show that the host uses it.
	stragglers = time.Second

	// giveUp is when a watcher ends although no key answers.
	giveUp = 10 * time.Minute

	// holdMost is how long packets are held at most. What waits longer arrives late, and the
	// queue fills. Up to half of it may pass before the key is changed, on a machine that is
	// slow to send what was queued before.
	holdMost = 2 * time.Second

	// settled is how long nothing is sent before the key is changed, and nothing received
	// before a peer follows, if packets are held: by then what was sent with the old key has
	// arrived.
	settled = 10 * time.Millisecond

	quick = time.Millisecond      // between two looks while packets wait in WireGuard's queue
	brisk = 4 * time.Millisecond  // while they are held: each look takes time of the device, too
	calm  = 20 * time.Millisecond // between two looks after that

	// idle is between two looks of a watcher that is usually notified when a handshake
	// begins: if it is not, 1000 packets a second still fit into WireGuard's queue, and more
	// if packets are held.
	idle     = 100 * time.Millisecond
	idleHeld = holdMost / 4

	// dozing is how long a notified watcher rests after it has followed: a hub with hundreds
	// of peers ends them one after the other.
	dozing = 250 * time.Millisecond

	// soon is how long a handshake that has begun may take to show in the counters.
	soon = 300 * time.Millisecond

	// atOnce is with how many peers the switch begins handshakes at first. A device answers
	// with cookies, which cost the peer 5 s, when 128 handshakes wait in it
	// (QueueHandshakeSize/8 of wireguard-go; 512 in the kernel): mostAtOnce is less.
	atOnce, mostAtOnce = 16, 96

	// silent is how long the first peers may delay the next ones: they may be far away, or
	// gone.
	silent = 100 * time.Millisecond
)

// proofTime is how long a host waits for proof from so many peers.
func proofTime(peers int) time.Duration {
	return min(deadMan+time.Duration(peers)*perPeer, mostProof)
}

// A Record is the state of a rotation on one of its hosts. All times are by a clock that
// starts with the host and that nobody sets. It contains no secret.
type Record struct {
	Tunnel   string            `json:"tunnel"`
	Host     string            `json:"host"` // the host whose key is replaced
	Old      keyring.PublicKey `json:"old"`
	Next     keyring.PublicKey `json:"next"`
	Run      string            `json:"run,omitempty"` // of the controller
	Phase    Phase             `json:"phase"`
	Why      string            `json:"why,omitempty"`   // it went back, or what could not be done
	Hold     bool              `json:"hold,omitempty"`  // hold packets
	Deadline time.Duration     `json:"deadline"`        // armed: end of the wait; switched: time to go back
	Since    time.Duration     `json:"since"`           // when the phase began
	Ready    bool              `json:"ready"`           // a process runs the role
	Prove    time.Duration     `json:"prove,omitempty"` // how long the switch waits for proof; 0: deadMan

	// Of the switch.
	Switch  bool                            `json:"switch,omitempty"`
	Now     bool                            `json:"now,omitempty"` // without proof, at the deadline
	KeyFile string                          `json:"key_file,omitempty"`
	Before  map[keyring.PublicKey]time.Time `json:"before,omitempty"` // last handshakes of those who have to prove it
	Proved  []keyring.PublicKey             `json:"proved,omitempty"`

	// Of a watcher: the other key's state when the phase began.
	Other Peer `json:"other,omitzero"`
}

// Over reports whether the host's role is done.
func (r *Record) Over() bool { return r.Phase == Kept || r.Phase == returned }

// enter begins a phase.
func (r *Record) enter(p Phase, now time.Duration) { r.Phase, r.Since = p, now }

// GiveUp ends a role that no process has begun in time.
func (r *Record) GiveUp(now time.Duration) {
	r.Why = "its process did not start in time"
	r.enter(returned, now)
}

// proof is how long the switch waits for proof.
func (r *Record) proof() time.Duration { return min(max(r.Prove, deadMan), mostProof) }

// linger is how long a watcher stays after it took the next key over, if nobody ends it:
// until the switch can no longer go back.
func (r *Record) linger() time.Duration { return r.proof() + tail }

// hopeless is how long a step may fail: longer than anybody waits for it.
func (r *Record) hopeless() time.Duration { return r.proof() + r.linger() }

// held reports whether packets may still be held.
func (r *Record) held(now time.Duration) bool { return now-r.Since < holdMost }

// pause is how long to wait between two looks while packets wait.
func (r *Record) pause() time.Duration {
	if r.Hold {
		return brisk
	}
	return quick
}

// since is how long to wait for something that has been under way for this time: looking
// more often does not make it faster, since the look takes processor time.
func (r *Record) since(age time.Duration) time.Duration { return max(r.pause(), min(age/4, idle)) }
