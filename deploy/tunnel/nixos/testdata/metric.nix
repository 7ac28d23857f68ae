# Tunnel wg0 of host basalt, as its tunnel file was when `wgkeys export` wrote this.
{ pkgs, ... }:
{
  networking.wireguard.interfaces."wg0" = {
    ips = [ "10.7.7.2/24" ];
    privateKeyFile = "/etc/wireguard/wg0.key";
    allowedIPsAsRoutes = false;
    peers = [
      {
        # shale
        publicKey = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
        endpoint = "93.93.130.7:51820";
        persistentKeepalive = 25;
        allowedIPs = [ "10.0.0.0/8" "10.7.7.0/24" ];
      }
    ];
    postSetup = ''
      ${pkgs.iproute2}/bin/ip route replace 10.0.0.0/8 via 10.7.7.1 onlink dev wg0 metric 77
    '';
  };
}
