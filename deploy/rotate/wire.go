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
	DoLook    = "look"    // return the state of the tunnel
	DoClaim   = "claim"   // keep other controllers out for Within, 0: no longer; return the state
	DoMake    = "make"    // make a private key on the host itself
	DoWatch   = "watch"   // stage the next key of a peer, wait for it, and return the state
	DoSwitch  = "switch"  // change the host's own key to the next one
	DoOutcome = "outcome" // return the outcome of a switch
	DoEnd     = "end"     // end the watch once it is clear which key is in use; with Old set: the next one
	DoReplace = "replace" // replace the old key of a peer by the next one, at once
	DoRefuse  = "refuse"  // remove a peer with the old key, for which there is no next one
	// use the preshared key with the fingerprint PSK, from PSKFile, with the peer Old; without
	// a fingerprint: return that of the one in use
	DoPSK     = "psk"
	DoPromote = "promote" // the next key is in use: rename its file to the key file
)

// A Request is what the controller wants one host to do.
type Request struct {
	Protocol int               `json:"protocol"`
	Do       string            `json:"do"`
	Tunnel   string            `json:"tunnel"`
	Host     string            `json:"host,omitempty"`     // the host whose key is replaced; psk: the one that is asked
	Old      keyring.PublicKey `json:"old,omitzero"`       // the key that is in use
	Next     keyring.PublicKey `json:"next,omitzero"`      // the key that replaces it
	KeyFile  string            `json:"key_file,omitempty"` // of the private key of the host that is asked
	Run      string            `json:"run,omitempty"`      // identifies the controller's run; end: that of the watch
	// claim: for how long; watch: how long to wait for the switch; switch: how long after the
	// claim it may begin or, with Now, how long to wait before it
	Within time.Duration `json:"within,omitempty"`
	Hold   bool          `json:"hold,omitempty"` // hold packets; look: find out whether they can be held
	// watch, switch: how long the switch waits for proof; 0, and on a host whose look does
	// not say Proves: deadMan
	Prove  time.Duration `json:"prove,omitempty"`
	Now    bool          `json:"now,omitempty"`    // switch without proof; make: the first key
	Fresh  bool          `json:"fresh,omitempty"`  // make: an existing next key may be stolen
	Stolen bool          `json:"stolen,omitempty"` // replace: the old key must never be used again

	PSKFile string `json:"psk_file,omitempty"` // psk: path of the preshared key's file
	PSK     string `json:"psk,omitempty"`      // psk: fingerprint of the preshared key

	// look: return also what apply would do with this view. An older host ignores it.
	View json.RawMessage `json:"view,omitempty"`
	Also []Request       `json:"also,omitempty"` // look: also look at these tunnels; likewise

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
	Do       string            `json:"do,omitempty"`       // never set by wgkeys: this is the request, sent back
	Fault    *wireFault        `json:"fault,omitempty"`    // why it was not done; nil: it was
	Live     Live              `json:"live,omitzero"`      // state of the tunnel
	File     FileKey           `json:"file,omitzero"`      // the key file
	NextFile FileKey           `json:"next,omitzero"`      // the next key file
	CanHold  bool              `json:"can_hold"`           // packets can be held, if that was asked
	HoldWhy  string            `json:"hold_why,omitempty"` // why they cannot
	Proves   bool              `json:"proves,omitempty"`   // look: Request.Prove is understood
	Stays    bool              `json:"stays,omitempty"`    // the host waits for another request
	Claimed  bool              `json:"claimed"`            // look: another controller has claimed the host
	Clock    time.Time         `json:"clock,omitzero"`     // of the host, to compute the age of handshakes
	Record   *Record           `json:"record,omitempty"`   // of a rotation that the host takes part in
	Made     keyring.PublicKey `json:"made,omitzero"`      // make: the public key
	Replaced bool              `json:"had,omitempty"`      // replace: the old key was accepted until now
	PSK      string            `json:"psk,omitempty"`      // psk: fingerprint of the one in use; "": none

	Version string   `json:"version,omitempty"` // of the host's wgkeys; "": an older one
	Planned *Planned `json:"planned,omitempty"` // look: for Request.View; nil: not asked for, or not known
	Also    []Answer `json:"also,omitempty"`    // look: to Request.Also
}

// maxView is the limit for all views of a look together, in bytes: every version accepts
// that much.
const maxView = 3 << 20

// A Planned is what apply would do on a host whose tunnel is up, with no rotation under
// way.
type Planned struct {
	Steps    int      `json:"steps"`              // how many
	Findings []string `json:"findings,omitempty"` // problems that no step can solve
	Refused  string   `json:"refused,omitempty"`  // why apply would refuse the view
	Failed   string   `json:"failed,omitempty"`   // why there is no plan
	// Failed: a key of the view that the host does not know; "": another reason, or an older host
	Unknown string `json:"unknown,omitempty"`
}

// A FileKey is the public key of a key file.
type FileKey struct {
	PublicKey keyring.PublicKey `json:"public_key,omitzero"`
	Why       string            `json:"why,omitempty"` // why there is no key in it
	// modification time of the file, by the host's clock: when it was written or, after a
	// rotation, when the key came into use
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
