package apply

import (
	"fmt"
	"strings"

	"wgkeys/deploy/apply/journal"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

func refuse(p *planner) error {
	v, name := p.view, p.view.Tunnel
	if p.state.Renamed != "" {
		return fault.New("somebody renamed the interface of tunnel", name, "it is now "+p.state.Renamed,
			"ip link set "+p.state.Renamed+" name "+name+" (while it is down), or wgkeys down -t "+name)
	}
	if p.state.Link != nil && !p.linkIsMine() {
		return p.notOurs()
	}
	if err := refuseHost(p); err != nil {
		return err
	}
	if err := refuseInside(p); err != nil {
		return err
	}
	if p.state.Device.PublicKey == v.PublicKey {
		return refusePSKs(p)
	}
	file := p.state.KeyFiles[v.PrivateKeyFile]
	if file.Err != nil {
		return file.Err
	}
	if file.PublicKey != v.PublicKey {
		return fault.New("wrong private key in", v.PrivateKeyFile, wrongKey(p, file.PublicKey),
			"git pull, then wgkeys push "+v.Host)
	}
	return refusePSKs(p)
}

// notOurs says how to go on beside the interface of another program.
func (p *planner) notOurs() error {
	name := p.view.Tunnel
	if p.state.Device.PublicKey == p.view.PublicKey { // it is this tunnel
		return refuseLink(name, "wgkeys import --take-over -t "+name+" takes it over as it runs")
	}
	if real := p.state.RealName; real != "" { // ip link del would take that one away
		return fault.New("will not touch the interface", real,
			"it has the tunnel's name, "+name+", as another name of its own",
			"ip link property del dev "+real+" altname "+name+", or wgkeys mv -t "+name+" NEW, with another name for the tunnel")
	}
	if kind := p.state.Link.Kind; kind != "wireguard" && kind != "tun" { // as a bridge, which others may need
		return fault.New("will not touch the interface", name,
			"it is there already, of kind "+kind+", and wgkeys did not make it",
			"wgkeys mv -t "+name+" NEW, with another name for the tunnel; if nobody needs that interface: ip link del "+name+
				", then run wgkeys apply again")
	}
	return notOurs(name)
}

func notOurs(name string) error {
	return refuseLink(name, "bring it down the way it was brought up (wg-quick down "+name+", or ip link del "+name+
		"), then run wgkeys apply again")
}

func refuseLink(name, hint string) error {
	return fault.New("will not touch the interface", name, "it is there already and wgkeys did not make it", hint)
}

// HintPort says who has a port that a tunnel is to have.
const HintPort = "ss -ulpn shows who has it; stop that, or choose another listen_port in the tunnel file"

func wrongKey(p *planner, found keyring.PublicKey) string {
	whose := "none of its peers"
	for _, peer := range p.view.Peers {
		if peer.PublicKey == found {
			whose = "host " + peer.Name
		}
	}
	return fmt.Sprintf("its public key is %s (of %s), and the keyring has %s for %s",
		found, whose, p.view.PublicKey.Spelled(found), p.view.Host)
}

func refusePSKs(p *planner) error {
	for _, peer := range p.view.Peers {
		if peer.PresharedKeyFile == "" {
			continue
		}
		if err := p.state.KeyFiles[peer.PresharedKeyFile].Err; err != nil {
			return err
		}
	}
	return nil
}

// refuseHost refuses what the host cannot do, before anything is changed.
func refuseHost(p *planner) error {
	h, name := &p.state.Hurdles, p.view.Tunnel
	switch {
	case h.NoRight:
		return ErrNoRight
	case h.NoTunnels != "" && p.state.Link == nil:
		return fault.New("cannot make the interface of tunnel", name, h.NoTunnels,
			"modprobe wireguard, or modprobe tun; a container is started with docker run --cap-add NET_ADMIN --device /dev/net/tun")
	case p.state.PortTaken:
		return portTaken(p)
	}
	return refuseIPv6(p)
}

// ErrNoRight is told to root of a container that may not change its network.
var ErrNoRight = fault.New("no right to change the network", "", "root has no CAP_NET_ADMIN in this container",
	"start the container with docker run --cap-add NET_ADMIN --device /dev/net/tun")

// portTaken comes before a redirect, which would take the tunnel's packets to
// whoever has the port.
func portTaken(p *planner) error {
	what := "cannot use the port of tunnel"
	if p.state.Device.ListenPort != 0 {
		what = "cannot change the port of tunnel"
	}
	owner, hint := p.state.Hurdles.PortOwner, HintPort
	if p.state.Hurdles.PortLeft {
		return fault.New(what, p.view.Tunnel, fmt.Sprintf("%s has left port %d, OUTSIDE, and closes it within 15 s: run this again then",
			owner, p.view.ListenPort), "wgkeys apply -t "+p.view.Tunnel)
	}
	if other, ok := strings.CutPrefix(owner, "tunnel "); ok {
		hint = fmt.Sprintf("write another listen_port = under [hosts.%s] in tunnels/%s.toml", p.view.Host, p.view.Tunnel)
		if p.others.Has(journal.Link.Of(other)) {
			hint = fmt.Sprintf("wgkeys apply -t %s first, if that is to have another port by now (if the two exchange ports: "+
				"wg set %s listen-port 0 on the host, then apply both); otherwise %s", other, other, hint)
		}
	}
	if owner == "" {
		owner = "another program"
	}
	return fault.New(what, p.view.Tunnel, fmt.Sprintf("%s has port %d, OUTSIDE, already", owner, p.view.ListenPort), hint)
}

// refuseIPv6: the other family alone is not what the file asks for.
func refuseIPv6(p *planner) error {
	why := p.state.Hurdles.NoIPv6
	wants := wantsIPv6(p)
	if why == "" || wants == "" || enablesIPv6(p) {
		return nil
	}
	hint := fmt.Sprintf("write ipv6 = false under [hosts.%s], for a tunnel with IPv4 alone there", p.view.Host)
	if key, ok := strings.CutSuffix(why, " is 1"); ok {
		hint += "; or sysctl -w " + key + "=0; or for the tunnel's interface alone: sysctls = { \"net.ipv6.conf." +
			p.view.Tunnel + ".disable_ipv6\" = 0 }"
	}
	return fault.New("no IPv6 on this host for tunnel", p.view.Tunnel, why+", and the tunnel file asks for "+wants, hint)
}

// wantsIPv6 says what the view needs it for on its link, or "".
func wantsIPv6(p *planner) string {
	for _, a := range addressesOfView(p.view) {
		if !a.Prefix.Addr().Is4() {
			return "the address " + a.String() + ", INSIDE"
		}
	}
	for i := range p.view.Routes {
		if r := &p.view.Routes[i]; !r.Prefix.Addr().Is4() {
			return "the route " + r.Prefix.String() + " to peer " + r.Peer + ", INSIDE"
		}
	}
	return ""
}

// refuseInside refuses an endpoint that is an address INSIDE.
func refuseInside(p *planner) error {
	var networks [2]bool // of IPv4, of IPv6: of the other family no endpoint is INSIDE
	for _, prefix := range p.view.Addresses {
		networks[familyOf(prefix.Addr())] = true
	}
	for i := range p.view.Peers {
		peer := &p.view.Peers[i]
		if peer.Endpoint == "" || !networks[familySpelled(peer.Endpoint)] {
			continue
		}
		addr := literal(peer)
		if !addr.IsValid() || !isInside(p.view, addr) {
			continue
		}
		return fault.New("cannot send encrypted packets to the endpoint of peer", peer.Name,
			fmt.Sprintf("%s is to be OUTSIDE, and is in the network of an address of this host, INSIDE", peer.Endpoint),
			"write the address that the peer has without the tunnel: endpoint, under [hosts."+peer.Name+"]")
	}
	return nil
}

// A Refusal is why there is no plan, where the host could be looked at.
type Refusal struct{ Err error }

func (r *Refusal) Error() string { return r.Err.Error() }
func (r *Refusal) Unwrap() error { return r.Err }
