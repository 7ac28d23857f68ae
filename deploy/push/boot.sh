# The first thing that runs on the host: become root, and choose who speaks for
# the host. The text of plain.sh is in $1. The rules are those of plain.sh. What the
# login shell's own files print, as the title of a window, need not end its line.
# The machine is its run of the kernel and the first of its mounts, whose number no other
# mount of that kernel has: wherever these are the same, a path is the same file.
#
# Each process that is started here is started on each of hundreds of hosts: root is
# known by whose /proc/sys is, and is not asked whether wgkeys runs. A program of another
# architecture, or one that a full disk has cut short, ends by a fault of the processor or
# with a code of the shell, and has read none of what the controller asks.
set +ax -f;
echo;
read -r m </proc/sys/kernel/random/boot_id && read -r n p d r q </proc/self/mountinfo && echo "machine $m $n $r";
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH;
w=$(command -v wgkeys) && [ -s "$w" ] || w=;
{ [ -O /proc/sys ] || [ "$(id -u)" = 0 ]; } 2>/dev/null || {
  echo "as $(id -un)";
  command -v sudo >/dev/null || { echo "lack sudo"; exit 0; };
  [ -n "$w" ] && [ "$("$w" receive --protocol </dev/null 2>/dev/null)" = 1 ] && exec sudo -n "$w" receive;
  exec sudo -n sh -c "$1" wgkeys-push;
};
[ -z "$w" ] || {
  "$w" receive;
  c=$?;
  case $c in
    1 | 2 | 12[67] | 13[2-59]) ;;
    *) exit "$c" ;;
  esac;
};
exec sh -c "$1" wgkeys-push
