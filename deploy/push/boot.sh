# The first thing that runs on the host: become root, and choose who speaks for
# the host. The text of plain.sh is in $1. The rules are those of plain.sh. What the
# login shell's own files print, as the title of a window, need not end its line.
# The machine is its run of the kernel, the mounts, and what is the root of them: wherever
# these are the same, a path is the same file.
set +ax -f;
echo;
read -r m </proc/sys/kernel/random/boot_id && n=$(readlink /proc/self/ns/mnt) && r=$(stat -c %d.%i /) &&
  echo "machine $m $n $r";
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH;
w=$(command -v wgkeys) && [ "$("$w" receive --protocol </dev/null 2>/dev/null)" = 1 ] || w=;
[ "$(id -u)" = 0 ] || {
  echo "as $(id -un)";
  command -v sudo >/dev/null || { echo "lack sudo"; exit 0; };
  [ -z "$w" ] || exec sudo -n "$w" receive;
  exec sudo -n sh -c "$1" wgkeys-push;
};
[ -z "$w" ] || exec "$w" receive;
exec sh -c "$1" wgkeys-push
