package rotate

import (
	"context"
	"errors"
	"fmt"

	"wgkeys/keyring/fault"
)

// Hosts are upgraded one after the other, and meanwhile some have another version of the
// program than the controller. Requests to a single host whose meaning has not changed are
// sent in the older host's version of the protocol: looking, and refusing a stolen key. A
// rotation, in which the hosts depend on each other, needs the same version on all.

// errVersion marks the error of a host whose version of the program is too different for
// the request.
var errVersion = errors.New("another version of wgkeys is there")

// since is the version of the protocol from which on a request has its present meaning on a
// host.
func (q Request) since() int {
	switch q.Do {
	case DoLook, DoRefuse, DoReplace, DoPromote, DoOutcome:
		return 1
	case DoSwitch:
		if q.Now {
			return 1
		}
	}
	return Protocol
}

// Understood reports whether this program, as a host, does what a controller of another
// version requests.
func (q Request) Understood() bool {
	return q.Protocol == Protocol || q.since() <= q.Protocol && q.Protocol < Protocol
}

// askIn asks in the version of this program or, if the host's is older and has the request
// as well, in that one.
func (p Participant) askIn(ctx context.Context, q Request) (Answer, error) {
	q.Protocol = Protocol
	a, err := p.Ask(ctx, q)
	if err != nil || a.Protocol == Protocol {
		return a, err
	}
	if theirs := a.Protocol; q.since() <= theirs && theirs < Protocol {
		q.Protocol = theirs
		if a, err = p.Ask(ctx, q); err != nil {
			return a, err
		}
		if a.Protocol == theirs && (q.Do != DoLook || q.KeyFile == "" || a.Fault != nil || a.File != FileKey{}) {
			return a, nil
		}
	}
	return a, p.otherVersion(a)
}

// otherVersion is the error of a host that answers in another version.
func (p Participant) otherVersion(a Answer) error {
	age, hint := "older", "upgrade wgkeys on "+p.Host
	if p.Upgrade != "" {
		hint += ": " + p.Upgrade
	}
	if a.Protocol > Protocol {
		age, hint = "newer", "upgrade wgkeys here: "+p.Host+" has a newer one"
	}
	why := fmt.Sprintf("it is %s, and speaks version %d of the protocol, this one %d", age, a.Protocol, Protocol)
	return OtherVersion(p.Host, why, hint)
}

// OtherVersion is the error of a host with another version of wgkeys than this one.
func OtherVersion(host, why, hint string) error {
	return fault.WrapHost(versionError(why), "another version of wgkeys is on host", host, hint)
}

// A versionError is errVersion with a text.
type versionError string

func (v versionError) Error() string        { return string(v) }
func (v versionError) Is(target error) bool { return target == errVersion }
