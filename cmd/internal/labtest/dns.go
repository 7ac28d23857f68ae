package labtest

import (
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is a DNS server: "standin-dns ADDRESS FILE" answers on port 53 of the address with
// the present content of the file, in the format of hosts(5). A query for an IPv6 address
// gets no answer at all if the file has a line "silent NAME".
func DNS() {
	c, err := net.ListenPacket("udp", net.JoinHostPort(os.Args[1], "53"))
	if err != nil {
		panic(err)
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			panic(err)
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 || isSilent(m.Questions[0], os.Args[2]) {
			continue
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		m.Answers = answersTo(m.Questions[0], os.Args[2])
		if out, err := m.Pack(); err == nil {
			c.WriteTo(out, from)
		}
	}
}

func isSilent(q dnsmessage.Question, file string) bool {
	text, _ := os.ReadFile(file)
	name := strings.TrimSuffix(q.Name.String(), ".")
	return q.Type == dnsmessage.TypeAAAA && strings.Contains(string(text), "silent "+name)
}

func answersTo(q dnsmessage.Question, file string) (answers []dnsmessage.Resource) {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		addr, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		a, err := netip.ParseAddr(addr)
		if err != nil || name+"." != q.Name.String() {
			continue
		}
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			answers = append(answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			answers = append(answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return answers
}
