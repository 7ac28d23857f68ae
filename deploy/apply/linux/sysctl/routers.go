package sysctl

import (
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// PromoteSecondaries turns on promote_secondaries for a link and returns a function that
// restores the old value. If /proc/sys is read-only, it does nothing.
func (r *Root) PromoteSecondaries(link string) (putBack func() error, err error) {
	key := "net/ipv4/conf/" + link + "/promote_secondaries"
	was, err := r.Read(key)
	if err != nil {
		return nil, err
	}
	err = r.write(key, "1")
	if errors.Is(err, unix.EROFS) {
		return func() error { return nil }, nil
	}
	return func() error { return r.write(key, strings.TrimSpace(was)) }, err
}

// HearNoRouters makes the tunnel's new link ignore router advertisements. Where the host
// forwards, new links have accept_ra=2 by default, and a peer could make itself the host's
// default router. It is no error where parameters cannot be changed: then the default was
// not changed by us either.
func (r *Root) HearNoRouters(link string) error {
	err := r.write("net/ipv6/conf/"+link+"/accept_ra", "0")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return nil
	}
	return err
}
