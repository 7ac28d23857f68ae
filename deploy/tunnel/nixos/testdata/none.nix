# Tunnel wg0 of host basalt, as its tunnel file was when `wgkeys export` wrote this.
{ pkgs, ... }:
{
  networking.wg-quick.interfaces."wg0" = {
    address = [ "10.7.7.2/32" ];
    listenPort = 7;
    privateKeyFile = "/etc/wireguard/wg0.key";
    autostart = false;
    table = "off";
    peers = [
      {
        # shale
        publicKey = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
        endpoint = "93.93.130.7:51820";
        persistentKeepalive = 25;
        allowedIPs = [ "10.7.7.1/32" ];
      }
    ];
  };
  networking.firewall.allowedUDPPorts = [ 7 ];
}
