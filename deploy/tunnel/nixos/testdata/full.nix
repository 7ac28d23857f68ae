# Tunnel wg0 of host basalt, as its tunnel file was when `wgkeys export` wrote this.
# when the interface is gone packets leave in the clear: there is no kill switch
{ pkgs, ... }:
{
  networking.wg-quick.interfaces."wg0" = {
    address = [ "10.7.7.2/32" "fd00:7::2/128" ];
    privateKeyFile = "/etc/wireguard/wg0.key";
    dns = [ "10.7.7.1" "~." ];
    peers = [
      {
        # shale
        publicKey = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
        endpoint = "93.93.130.7:51820";
        persistentKeepalive = 25;
        allowedIPs = [ "0.0.0.0/0" "::/0" ];
      }
    ];
  };
}
