# The host's end of the conversation (conn.go) in POSIX sh, for root.
#
# It reaches the host as one line (ssh.OneLine): it must hold no single quote, backslash
# or exclamation mark, so that csh and fish hand it on unread.
set +ax -fu;
unset dir new verb want size why version f x kind;
LC_ALL=C; export LC_ALL; umask 022; dir=; place=/usr/local/bin; program=$place/wgkeys;

clean() { [ -z "$dir" ] || rm -rf "$dir"; dir=; };
trap clean EXIT; trap "exit 1" HUP INT TERM PIPE;

sum() { x=$(sha256sum <"$1") && echo "${x%% *}"; };

# What it has. What is broken, or is none of ours, may say many lines, or long ones; what
# cannot be run has to be written in any case, so its hash is of no use. A link that leads
# nowhere is somebody's all the same: what it leads to may be mounted later.
has() {
  if [ -d "$program" ]; then echo "deny $program is a directory";
  elif [ -x "$program" ]; then "$program" --version 2>&1 </dev/null | { read -r version || :; [ ${#version} -le 200 ] || version="something long"; echo "$kind $(sum "$program") $version"; };
  elif [ -e "$program" ] || [ -L "$program" ]; then echo "has - nothing that can be run";
  else echo none; fi;
};

# What was killed outright leaves its folder, whose name tells whose it was. A process that
# nobody waits for has no program any more, and can be signalled all the same.
sweep() {
  set +f;
  for f in "$place"/.wgkeys.*; do x=${f##*/.wgkeys.}; [ -e "/proc/${x%%.*}/exe" ] || rm -rf "$f"; done;
  set -f;
};

# The new program lies in a folder of its own, beside the old one: it runs once under its
# own name, and the rename is within one file system.
put() {
  if [ -e "$place" ] || [ -L "$place" ]; then [ -d "$place" ] || { why="$place is not a folder"; return 1; }; fi;
  why=$(mkdir -p "$place" 2>&1) || return 1;
  sweep;
  dir=$(mktemp -d "$place/.wgkeys.$$.XXXXXX" 2>&1) || { why=$dir; dir=; return 1; };
  new=$dir/wgkeys;
  why=$({ cat >"$new"; } 2>&1) || return 1;
  [ "$(sum "$new")" = "$want" ] || { why="what arrived is not what was sent"; return 1; };
  why=$({ chmod 755 "$new" && sync "$new"; } 2>&1) || return 1;
  version=$("$new" --version 2>&1 </dev/null) || { why="it does not run there, and the system says ${version##*: }"; return 1; };
  why=$(mv -f "$new" "$program" 2>&1) || return 1;
  why=$(sync "$place" 2>&1);
};

for f in cat chmod id mkdir mktemp mv rm sha256sum sync uname; do
  command -v "$f" >/dev/null || { echo "lack $f"; exit 0; };
done;
# That of a package is left alone.
kind=has;
if [ ! -e "$program" ] && [ -x /usr/bin/wgkeys ]; then kind=package; program=/usr/bin/wgkeys; fi;
echo "wgkeys-install 1 $(uname -s) $(uname -m)";
has;
read -r verb want || verb=;
if [ "$verb" = put ]; then
  if put; then clean; echo "done $version"; else clean; why=$(echo $why); echo "fail ${why##*: }"; fi;
fi;
case $(command -v wgkeys) in
  "" | "$program") ;;
  *) echo "first $(command -v wgkeys)" ;;
esac
