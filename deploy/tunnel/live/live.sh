PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin
export PATH LC_ALL=C
say() {
	echo "@$1"
	shift
	"$@" 2>/dev/null | sed 's/^/|/'
	echo
}
for c in wg ip; do
	command -v $c >/dev/null || { echo "@lack $c"; exit 0; }
done
for i in $(wg show interfaces); do
	say "conf $i" wg showconf "$i"
	say "address $i" ip -j address show dev "$i"
	say "route 4 $i" ip -j -4 route show table all dev "$i"
	say "route 6 $i" ip -j -6 route show table all dev "$i"
	for f in /etc/wireguard/"$i".conf; do
		[ -f "$f" ] && say "file $f" cat "$f"
	done
	for f in /etc/systemd/network/*.net* /etc/netplan/*.yaml /etc/network/interfaces /etc/network/interfaces.d/* \
		/etc/NetworkManager/system-connections/*; do
		[ -f "$f" ] && grep -qw -e "$i" "$f" && say "file $f" cat "$f"
	done
done
say "rules 4" ip -4 rule show
say "rules 6" ip -6 rule show
say "forward" cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
echo @end
