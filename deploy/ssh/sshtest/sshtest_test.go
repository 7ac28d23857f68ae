package sshtest

import (
	"net"
	"testing"
)

// TestPortTaken: whoever else was given the port, and has it by now, is not taken for
// the server.
func TestPortTaken(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer other.Close()
	free, asked := freeAddr, 0
	defer func() { freeAddr = free }()
	freeAddr = func(t testing.TB) string {
		if asked++; asked == 1 {
			return other.Addr().String()
		}
		return free(t)
	}
	s := Start(t, Config{})
	if s.Addr == other.Addr().String() || asked != 2 {
		t.Errorf("after %d ports the server is said to be on %s, which is another's", asked, s.Addr)
	}
	if err := s.Client("shale").Run(t.Context(), "true", nil, nil); err != nil {
		t.Error(err)
	}
}
