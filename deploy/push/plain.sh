# The host's end of the protocol (protocol.go) in POSIX sh with wg(8).
#
# It reaches the host as one line, made from this file by plain.go: lines are
# joined by a space, and it must hold no single quote, backslash or exclamation
# mark, so that csh and fish hand it on unread.
#
# A variable that came in with the environment is exported for good, and an
# inherited xtrace or allexport would show or hand on the key: unset them first.
set +ax -fu;
unset verb kind want key path dir tmp why seen f q x;
LC_ALL=C; export LC_ALL; umask 077; tmp= seen=;

clean() { [ -z "$tmp" ] || rm -f "$tmp"; tmp=; };
trap clean EXIT; trap "exit 1" HUP INT TERM PIPE;

# A preshared key must be one for wg too, before it gets its fingerprint.
fingerprint() {
  x=$(wg pubkey <"$2") || return 1;
  if [ "$1" = psk ]; then x=$({ echo wgkeys psk; cat "$2"; } | sha256sum) || return 1; fi;
  echo "${x%% *}";
};

look() {
  if [ -L "$path" ]; then echo "deny is a symbolic link";
  elif [ -d "$path" ]; then echo "deny is a directory";
  elif [ -f "$path" ]; then
    if x=$(fingerprint "$kind" "$path" 2>/dev/null); then
      set -- $(ls -ldn "$path") "" "" "" ""; echo "have $1 $3 $4 $x";
    elif named && part; then echo bad;
    else echo "deny holds something that is no key"; fi;
  elif [ -e "$path" ]; then echo "deny is no regular file";
  elif named; then echo none;
  else echo "deny is not named as a key file: NAME.key, NAME.psk, or in a folder wireguard"; fi;
};

# What is new, or thrown away, has the name of a key file (named in names.go).
named() {
  case $path in
    *.key | *.psk) return 0 ;;
  esac;
  case ${path%/*} in */wireguard) ;; *) return 1 ;; esac;
  case ${path##*/} in *.*) return 1 ;; esac;
};

# Nothing, or a key that was cut short (part in names.go): characters that a key has,
# and no end of a line, which comes last.
part() {
  set -- $(ls -ldn "$path");
  [ "$5" -le 64 ] && [ "$(tr -dc "[:space:]" <"$path" | wc -c)" -eq "$5" ] && return 0;
  [ "$5" -le 44 ] && [ "$(tr -dc "A-Za-z0-9+/=" <"$path" | wc -c)" -eq "$5" ] || return 1;
  case $(cat "$path") in *=?*) return 1 ;; esac;
};

# A push that was killed outright leaves its temporary file: its name tells
# whose it was.
sweep() {
  set +f;
  for f in "$dir".wgkeys.*; do q=${f##*/.wgkeys.}; kill -0 "${q%%.*}" 2>/dev/null || rm -f "$f"; done;
  set -f;
};

# A group that somebody let read the file may read the new one (files.Readers).
readers() {
  [ -f "$path" ] || return 0;
  set -- $(ls -ldn "$path");
  case "$1 $3 $4" in
    *" 0 0") ;;
    -rw-r-----*" 0 "*) chown "0:$4" "$tmp" && chmod 640 "$tmp" ;;
    -r--r-----*" 0 "*) chown "0:$4" "$tmp" && chmod 440 "$tmp" ;;
  esac;
};

# echo is a builtin of every sh, so the key is in no argument vector; cat has
# the words of the kernel for a disk that is full.
fill() {
  chown 0:0 "$tmp" && { echo "$key" | cat >"$tmp"; } && sync "$tmp" || return 1;
  [ "$(fingerprint "$kind" "$tmp")" = "$want" ] || { echo "what arrived is another key"; return 1; };
  [ -d "$path" ] && { echo "is a directory"; return 1; };
  readers || return 1;
  mv -f -T "$tmp" "$path" 2>/dev/null || mv -f "$tmp" "$path";
};

# The controller decides by what look told of the path, and may take its time: what is there
# now is not replaced if it is another key, and not the wanted one.
same() {
  [ "${why##* }" = "$want" ] && return 0;
  case "$seen|" in
    *"|$path ${why##* }|"*) return 0 ;;
    *"|$path "*) return 1 ;;
  esac;
};

# What look denies is not replaced either, whoever asks. The parent is synced as well,
# because dir may be new.
put() {
  why=$(look);
  case $why in deny*) why=${why#deny }; return 1 ;; esac;
  same || { why="was changed by somebody else meanwhile"; return 1; };
  dir=${path%/*}/;
  why=$(mkdir -p "$dir" 2>&1) || return 1;
  sweep;
  tmp=$(mktemp "$dir.wgkeys.$$.XXXXXX" 2>&1) || { why=$tmp; tmp=; return 1; };
  why=$(fill 2>&1) || return 1;
  tmp=;
  why=$(sync "$dir" "$dir.." 2>&1);
};

mode() {
  case $(look) in have*) ;; *) why="no key is in place"; return 1 ;; esac;
  why=$({ chown -h 0:0 "$path" && chmod 600 "$path" && sync "$path"; } 2>&1);
};

# tell answers put and mode by what is in place, not by what was to be.
tell() {
  if "$verb" && x=$(fingerprint "$kind" "$path" 2>&1); then echo "done $x";
  else why=${why:-no key is in place}; echo "fail ${why##*: }"; fi;
  clean; key=;
};

for f in wg cat chmod chown ls mkdir mktemp mv rm sha256sum sync tr wc; do
  command -v "$f" >/dev/null || { echo "lack $f"; exit 0; };
done;
echo "wgkeys 1 plain";
while read -r verb kind path; do
  case $verb in
    look) why=$(look); echo "$why"; seen="$seen|$path ${why##* }" ;;
    put) want=${path%% *}; path=${path#* }; key=${path%% *}; path=${path#* }; tell ;;
    mode) tell ;;
    *) exit 1 ;;
  esac;
done
