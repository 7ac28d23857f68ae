package sysctl

import (
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// PromoteSecondaries turns promote_secondaries of a link on, which a fresh link has off.
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

// HearNoRouters has a new link of ours take no router advertisements. It would
// where the host forwards: the default for new interfaces is accept_ra=2 then,
// and a peer could make itself the host's default route. Where parameters cannot
// be changed the default is not ours either.
func (r *Root) HearNoRouters(link string) error {
	err := r.write("net/ipv6/conf/"+link+"/accept_ra", "0")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return nil
	}
	return err
}
