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
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	var conns []net.Conn
	for tick := time.Tick(50 * time.Millisecond); ; {
		select {
		case c := <-accepted:
			conns = append(conns, c)
			continue
		case <-tick:
		}
		if _, err := os.Stat(os.Args[2]); err == nil {
			break
		}
	}
	for _, c := range conns {
		fmt.Fprintln(c, "spoken")
	}
	time.Sleep(time.Minute)
}
