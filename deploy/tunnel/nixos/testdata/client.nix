# Tunnel wg1 of host basalt, as its tunnel file was when `wgkeys export` wrote this.
# the resolvers are asked for every name, and not only for those of ~home.example
{ pkgs, ... }:
{
  networking.wg-quick.interfaces."wg1" = {
    address = [ "10.7.7.2/24" ];
    privateKeyFile = "/etc/keys/wg1.key";
    mtu = 1380;
    dns = [ "10.7.7.1" "~home.example" ];
    peers = [
      {
        # shale
        publicKey = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
        endpoint = "93.93.130.7:51820";
        persistentKeepalive = 25;
        allowedIPs = [ "10.7.7.0/24" "192.168.9.0/24" ];
      }
    ];
  };
}
