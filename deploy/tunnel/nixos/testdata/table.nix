# Tunnel wg0 of host basalt, as its tunnel file was when `wgkeys export` wrote this.
{ pkgs, ... }:
{
  networking.wireguard.interfaces."wg0" = {
    ips = [ "10.7.7.2/24" ];
    privateKeyFile = "/etc/wireguard/wg0.key";
    fwMark = "0x57";
    table = "1000";
    peers = [
      {
        # shale
        publicKey = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
        endpoint = "93.93.130.7:51820";
        persistentKeepalive = 25;
        allowedIPs = [ "0.0.0.0/0" "10.7.7.0/24" ];
      }
    ];
  };
}
