package participant

import (
	"context"
	"fmt"
	"time"

	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/deploy/host/daemon"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/revoked"
	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// end makes the watch end as soon as it is clear which key is in use. If the controller
// knows that, and a watch has ended differently or is lost because the host has rebooted
// since, the next key replaces the old one here.
func end(ctx context.Context, q rotate.Request) error {
	r, err := readRecord(q.Tunnel)
	if err == nil && r != nil && q.Old.IsZero() && r.Run != q.Run {
		return nil // a watch of another run, which goes on
	}
	if err == nil && r != nil && r.Next == q.Next && !r.Switch {
		if err = endWatch(ctx, q, r, 15*time.Second); err == nil {
			r, err = readRecord(q.Tunnel)
		}
	}
	if err != nil || q.Old.IsZero() || r != nil && r.Next == q.Next && r.Phase == rotate.Kept {
		return err
	}
	return replacePeer(ctx, q, new(rotate.Answer))
}

// endWatch also completes a watch both of whose processes are gone.
func endWatch(ctx context.Context, q rotate.Request, r *rotate.Record, atMost time.Duration) error {
	if err := replace(endPath(q.Tunnel), []byte(r.Next.String())); err != nil {
		return err
	}
	if !r.Over() && !running(q.Tunnel) {
		if err := daemon.Start(ctx, process, q.Tunnel); err != nil {
			return err
		}
	}
	if err := wait(ctx, q.Tunnel, atMost, (*rotate.Record).Over); err != nil {
		return err
	}
	// The second process releases its lock a moment later.
	for end := time.Now().Add(time.Second); running(q.Tunnel) && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// replacePeer gives the next key everything that the old one has, in one step. A watch for
// another host goes on.
func replacePeer(ctx context.Context, q rotate.Request, a *rotate.Answer) error {
	endOwn(ctx, q)
	d, err := openDevice(q.Tunnel, q.KeyFile)
	if err != nil {
		return err
	}
	defer d.close()
	live, err := d.Look()
	if err != nil {
		return fmt.Errorf("tunnel %s is not up: %w", q.Tunnel, fault.Errno(err))
	}
	_, hasOld := live.Peers[q.Old]
	_, hasNext := live.Peers[q.Next]
	a.Replaced = hasOld
	switch {
	case hasOld && live.Peers[q.Next].AllowedIPs == 0:
		if err := d.Follow(q.Old, q.Next); err != nil {
			return err
		}
	case !hasOld && !hasNext:
		return wg.UnknownPeer(q.Tunnel, q.Old)
	}
	if err := d.Drop(q.Old); err != nil {
		return err
	}
	if q.Stolen {
		if err := revoked.Add(q.Old, keyring.PublicKey{}); err != nil {
			return err
		}
	}
	return kept.RekeyPeer(ctx, q.Tunnel, q.Old, q.Next)
}

// endOwn ends a watch for the key that is to be replaced or refused. A watch that waits for
// an answer does not end yet; it cannot restore a removed peer.
func endOwn(ctx context.Context, q rotate.Request) {
	r, err := readRecord(q.Tunnel)
	if err == nil && r != nil && !r.Over() && !r.Switch && (r.Old == q.Old || r.Next == q.Old || r.Next == q.Next) {
		endWatch(ctx, q, r, 3*time.Second)
	}
}

// refuse removes a peer, with its allowed IPs, and prevents that a boot restores it.
func refuse(ctx context.Context, q rotate.Request) error {
	endOwn(ctx, q)
	if err := revoked.Add(q.Old, keyring.PublicKey{}); err != nil {
		return err
	}
	d, err := openDevice(q.Tunnel, q.KeyFile)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.Drop(q.Old); err != nil {
		return err
	}
	if err := kept.RefusePeer(ctx, q.Tunnel, q.Old); err != nil {
		return fault.Wrap(err, "the key is refused until the next boot, and no longer, on tunnel", q.Tunnel, "")
	}
	return nil
}
