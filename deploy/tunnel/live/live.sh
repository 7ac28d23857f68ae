PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin
export PATH LC_ALL=C
say() {
	printf '@%s\n' "$1"
	shift
	"$@" 2>/dev/null | sed 's/^/|/'
	echo
}
# files PATTERN FILE...: those that speak of the interface, and their drop-ins.
files() {
	p=$1
	shift
	for f; do
		[ -f "$f" ] && grep -qE -e "$p" "$f" || continue
		say "file $f" cat "$f"
		for d in "$f".d/*.conf; do
			[ -f "$d" ] && say "file $d" cat "$d"
		done
	done
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
	b='[[:space:]]'
	files "^$b*Name$b*=$b*$i$b*\$" /etc/systemd/network/*.net*
	files "^$b*[\"']?$i[\"']?:" /etc/netplan/*.yaml
	files "^$b*iface$b+$i($b|\$)" /etc/network/interfaces /etc/network/interfaces.d/*
	files "^$b*interface-name$b*=$b*$i$b*\$" /etc/NetworkManager/system-connections/*
done
say "rules 4" ip -4 rule show
say "rules 6" ip -6 rule show
say "forward" cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
echo @end
