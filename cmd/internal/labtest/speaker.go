package labtest

import (
	"fmt"
	"net"
	"os"
	"time"
)

// Speaker is a program that sends first: "standin-speaker PORT FILE" writes a line to
// whoever has connected to the port, once the file exists.
func Speaker() {
	l, err := net.Listen("tcp", ":"+os.Args[1])
	if err != nil {
		panic(err)
	}
	var conns []net.Conn
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
		}
	}()
	for {
		if _, err := os.Stat(os.Args[2]); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, c := range conns {
		fmt.Fprintln(c, "spoken")
	}
	time.Sleep(time.Minute)
}
