# Tunnel wg0 of host shale, as its tunnel file was when `wgkeys export` wrote this.
{ pkgs, ... }:
{
  networking.wg-quick.interfaces."wg0" = {
    # the hub; at home
    address = [ "10.7.7.1/24" "fd00:7::1/64" ];
    listenPort = 51820;
    privateKeyFile = "/etc/wireguard/wg0.key";
    autostart = false;
    peers = [
      {
        # basalt
        publicKey = "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=";
        presharedKeyFile = "/etc/wireguard/wg0.basalt.psk";
        allowedIPs = [ "10.7.7.2/32" "192.168.9.0/24" "fd00:7::2/128" ];
      }
      {
        # chert
        publicKey = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        allowedIPs = [ "10.7.7.3/32" ];
      }
    ];
    postUp = ''
      ${pkgs.iproute2}/bin/ip address add 10.9.9.1 peer 10.9.9.2/32 dev wg0
      for d in $(${pkgs.iproute2}/bin/ip -6 route show default | ${pkgs.gnused}/bin/sed -n 's/.* dev \([^ ]*\).*/\1/p'); do ${pkgs.iproute2}/bin/ip -6 neigh replace proxy fd00:7::2 dev "$d"; done
      ${pkgs.iptables}/bin/iptables -t nat -A POSTROUTING -s 10.7.7.2/32 -o eth0 -j MASQUERADE
      ${pkgs.iptables}/bin/iptables -t nat -A POSTROUTING -o wg0 -j MASQUERADE
      ${pkgs.iptables}/bin/iptables -t filter -I FORWARD -i wg0 -o wg0 -j DROP
      ${pkgs.iptables}/bin/ip6tables -t nat -A POSTROUTING -o wg0 -j MASQUERADE
      ${pkgs.iptables}/bin/ip6tables -t filter -I FORWARD -i wg0 -o wg0 -j DROP
    '';
    postDown = ''
      for d in $(${pkgs.iproute2}/bin/ip -6 route show default | ${pkgs.gnused}/bin/sed -n 's/.* dev \([^ ]*\).*/\1/p'); do ${pkgs.iproute2}/bin/ip -6 neigh del proxy fd00:7::2 dev "$d" || true; done
      ${pkgs.iptables}/bin/iptables -t nat -D POSTROUTING -s 10.7.7.2/32 -o eth0 -j MASQUERADE
      ${pkgs.iptables}/bin/iptables -t nat -D POSTROUTING -o wg0 -j MASQUERADE
      ${pkgs.iptables}/bin/iptables -t filter -D FORWARD -i wg0 -o wg0 -j DROP
      ${pkgs.iptables}/bin/ip6tables -t nat -D POSTROUTING -o wg0 -j MASQUERADE
      ${pkgs.iptables}/bin/ip6tables -t filter -D FORWARD -i wg0 -o wg0 -j DROP
    '';
  };
  networking.firewall.allowedUDPPorts = [ 51820 ];
  boot.kernel.sysctl = {
    "net.ipv4.conf.all.forwarding" = "1";
    "net.ipv4.conf.wg0.rp_filter" = "2";
    "net.ipv6.conf.*.accept_ra" = "2";
    "net.ipv6.conf.all.forwarding" = "1";
    "net.ipv6.conf.all.proxy_ndp" = "1";
  };
}
