# Tunnel wg0 of host shale, as its tunnel file was when `wgkeys export` wrote this.
{ pkgs, ... }:
{
  networking.wireguard.interfaces."wg0" = {
    # the hub; at home
    ips = [ "10.7.7.1/24" "fd00:7::1/64" ];
    listenPort = 51820;
    privateKeyFile = "/etc/wireguard/wg0.key";
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
  };
  networking.firewall.allowedUDPPorts = [ 51820 ];
  boot.kernel.sysctl = {
    "net.ipv4.conf.all.forwarding" = "1";
    "net.ipv6.conf.*.accept_ra" = "2";
    "net.ipv6.conf.all.forwarding" = "1";
  };
}
