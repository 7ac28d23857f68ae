package rotate

import (
	"encoding/json"
	"time"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// Protocol is the version of the protocol between controller and host: one [Request] and
// one [Answer], in JSON, for each run of "wgkeys turn" on the host, or several, see
// Request.Stay. Neither contains a secret.
const Protocol = 3

// The requests to a host.
const (
	DoLook    = "look"    // tell how things stand
	DoClaim   = "claim"   // have the host to oneself, for Within, and tell how things stand; for no time: no more
	DoMake    = "make"    // make the next key on the host itself
	DoWatch   = "watch"   // stage the next key of a peer, wait for it, and tell how things stand
	DoSwitch  = "switch"  // change the own key to the next one
	DoOutcome = "outcome" // tell what became of a switch
	DoEnd     = "end"     // end the watch as soon as it is clear which key is in use; with Old it is clear: the next one
	DoReplace = "replace" // take the next key of a peer in place of the old one, at once
	DoRefuse  = "refuse"  // take the old key of a peer no more, though there is no next one
	// with the peer Old, use the preshared key of this fingerprint, which is in its file; without one: tell the one in use
	DoPSK     = "psk"
	DoPromote = "promote" // the next key is in use: make its file the key file
)

// A Request is what the controller asks of one host.
type Request struct {
	Protocol int               `json:"protocol"`
	Do       string            `json:"do"`
	Tunnel   string            `json:"tunnel"`
	Host     string            `json:"host,omitempty"`     // whose key is replaced
	Old      keyring.PublicKey `json:"old,omitzero"`       // the key that is in use
	Next     keyring.PublicKey `json:"next,omitzero"`      // the key to come
	KeyFile  string            `json:"key_file,omitempty"` // of the host's private key
	Run      string            `json:"run,omitempty"`      // the controller's; end: of the watch that is to end
	// watch: how long to wait for the switch; switch now: how long before it; switch: how
	// long after the claim it may begin
	Within time.Duration `json:"within,omitempty"`
	Hold   bool          `json:"hold,omitempty"` // hold packets; look: tell whether they can be held
	// watch, switch: how long the switch waits for proof; 0, and on a host whose look does
	// not say Proves: deadMan
	Prove  time.Duration `json:"prove,omitempty"`
	Now    bool          `json:"now,omitempty"`    // switch without proof; make: the first key
	Fresh  bool          `json:"fresh,omitempty"`  // make: whatever next key is there may be stolen
	Stolen bool          `json:"stolen,omitempty"` // replace: the old key is not to be used again

	PSKFile string `json:"psk_file,omitempty"` // psk: of the preshared key
	PSK     string `json:"psk,omitempty"`      // psk: its fingerprint

	// look: return also what apply would do with this view. An older host ignores it.
	View json.RawMessage `json:"view,omitempty"`
	Also []Request       `json:"also,omitempty"` // look: also at other tunnels; likewise

	// Stay makes the host wait for another request after this one, on the same connection.
	// An older host ignores it, and its answer does not say Stays.
	Stay bool `json:"stay,omitempty"`

	// Peers are those that have to prove the next key, or that need a session before the
	// host is looked at.
	Peers []keyring.PublicKey `json:"peers,omitempty"`
}

// An Answer is the answer of a host.
type Answer struct {
	Protocol int               `json:"protocol"`
	Fault    *wireFault        `json:"fault,omitempty"`    // it was not done
	Live     Live              `json:"live,omitzero"`      // of the tunnel
	File     FileKey           `json:"file,omitzero"`      // of the key file
	NextFile FileKey           `json:"next,omitzero"`      // of the next key file
	CanHold  bool              `json:"can_hold"`           // packets can be held, where it was asked
	HoldWhy  string            `json:"hold_why,omitempty"` // they cannot
	Proves   bool              `json:"proves,omitempty"`   // look: Request.Prove is understood
	Stays    bool              `json:"stays,omitempty"`    // another request is listened for
	Claimed  bool              `json:"claimed"`            // a controller has the host to itself
	Clock    time.Time         `json:"clock,omitzero"`     // of the host, to compute the age of handshakes
	Record   *Record           `json:"record,omitempty"`   // of a rotation that the host takes part in
	Made     keyring.PublicKey `json:"made,omitzero"`
	Replaced bool              `json:"had,omitempty"` // replace: the old key was taken until now
	PSK      string            `json:"psk,omitempty"` // psk: the fingerprint of the one in use

	Version string   `json:"version,omitempty"` // of the host's wgkeys; "": one that does not tell it yet
	Planned *Planned `json:"planned,omitempty"` // look: of the view; nil: not asked for, or not known
	Also    []Answer `json:"also,omitempty"`    // look: at the other tunnels
}

// maxView is the limit for the views in a look, together: every version accepts that much.
const maxView = 3 << 20

// A Planned is what apply would do on a host whose tunnel is up, with no rotation under
// way.
type Planned struct {
	Steps    int      `json:"steps"`
	Findings []string `json:"findings,omitempty"` // what no step can mend
	Refused  string   `json:"refused,omitempty"`  // why the view is not to be had there
	Failed   string   `json:"failed,omitempty"`   // why that could not be told
}

// A FileKey is the public key of a key file.
type FileKey struct {
	PublicKey keyring.PublicKey `json:"public_key,omitzero"`
	Why       string            `json:"why,omitempty"` // there is no key in it
	// when the file was written or, for a key of a rotation, when the key came into use, by
	// the host's clock
	Changed time.Time `json:"changed,omitzero"`
}

// wireFault is a fault as it is sent from one host to another.
type wireFault struct {
	What, Who, Why, Hint string
}

// Refuse returns the answer of a host that did not do what was requested.
func Refuse(err error) Answer {
	t := &wireFault{What: err.Error()}
	if f, ok := err.(*fault.Fault); ok {
		t = &wireFault{What: f.What, Who: f.Subject(), Why: f.Why, Hint: f.Hint}
		if f.Err != nil && t.Why == "" {
			t.Why = f.Err.Error()
		}
	}
	if hints := fault.Hints(err); t.Hint == "" && hints != nil { // of what it wraps
		t.Hint = hints[0]
	}
	return Answer{Protocol: Protocol, Fault: t}
}

// Err returns why the host did not do it, or nil.
func (a Answer) Err() error {
	if a.Fault == nil {
		return nil
	}
	return fault.New(a.Fault.What, a.Fault.Who, a.Fault.Why, a.Fault.Hint)
}

// Settled reports whether the tunnel is up with no rotation under way: then it can be
// compared with the wanted state.
func (a Answer) Settled() bool {
	return !a.Live.PublicKey.IsZero() && (a.Record == nil || a.Record.Over())
}

// Age returns how long ago the last handshake with a peer was by the host's clock, and
// whether there was one.
func (a Answer) Age(peer keyring.PublicKey) (time.Duration, bool) {
	p, ok := a.Live.Peers[peer]
	if !ok || p.Handshake.IsZero() {
		return 0, false
	}
	return max(0, a.Clock.Sub(p.Handshake)), true
}
