# What packages-test.sh sources: pages of the manual, and Tab as it is pressed in the shells
# that people use, in the root $root with its package installed.

# Every page of the package is found by its name and rendered by man-db and groff, without a
# warning of either.
manual() {
	local path page section lines total=0 pages=0
	while read -r path; do
		page=${path##*/} page=${page%.gz}
		section=${page##*.} page=${page%.*}
		here env MANWIDTH=80 MANROFFSEQ= man --warnings=all -P cat "$section" "$page" >"$work/$name/page" 2>"$work/$name/warnings" ||
			fail "man $section $page: $(cat "$work/$name/warnings")"
		[ ! -s "$work/$name/warnings" ] || fail "man $section $page: $(cat "$work/$name/warnings")"
		grep -q '^NAME' "$work/$name/page" || fail "man $section $page: $(head -n 5 "$work/$name/page")"
		here whatis "$page" | grep -q "^$page ($section)" || fail "whatis $page"
		lines=$(wc -l <"$work/$name/page")
		[ "$lines" -gt 10 ] || fail "man $section $page has $lines lines"
		pages=$((pages + 1)) total=$((total + lines))
	done < <(here dpkg-query -L wgkeys | grep '/man[1-9]/.')
	for page in wgkeys wgkeys-apply "5 wgkeys-tunnel" "5 wgkeys-vault"; do
		here man -w $page >"$work/$name/page" || fail "man $page"
	done
	say "man: $pages pages, $total lines, no warning"
}

# pressed SESSION WANT: until there stands WANT before the cursor of the terminal, which
# fish writes suggestions behind.
pressed() {
	local line x y
	for _ in $(seq 600); do
		read -r x y < <($tmux display-message -p -t "$1" '#{cursor_x} #{cursor_y}')
		line=$($tmux capture-pane -p -N -t "$1" -S "$y" -E "$y")
		case ${line:0:x} in
		*"$2") return ;;
		esac
		sleep 0.2
	done
	fail "$1: there stands no '$2': $($tmux capture-pane -p -t "$1")"
}

# tab SHELL: someone who is new on the machine presses Tab. bash has the file that Debian
# gives to each user, zsh what its own questions recommend, and fish nothing.
tab() {
	local typed want keys=0
	$tmux new-session -d -s "$1" -x 100 -y 40 "inside su - ada -s $(here sh -c "command -v $1")"
	for _ in $(seq 60); do # what is typed while a shell starts may be lost
		$tmux send-keys -t "$1" "cd net; echo read''y" Enter 2>/dev/null || fail "$1 does not start"
		sleep 2
		! $tmux capture-pane -p -t "$1" | grep -qx ready || break
	done
	$tmux capture-pane -p -t "$1" | grep -qx ready || fail "$1: $($tmux capture-pane -p -t "$1")"
	while IFS='|' read -r typed want; do
		$tmux send-keys -t "$1" C-l
		$tmux send-keys -t "$1" -l "$typed"
		pressed "$1" "$typed"
		$tmux send-keys -t "$1" Tab
		pressed "$1" "$want"
		$tmux send-keys -t "$1" C-e C-u
		keys=$((keys + 1))
	done <<-END
		wgkeys sho|wgkeys show 
		wgkeys show ba|wgkeys show basalt 
		wgkeys push @we|wgkeys push @web 
		wgkeys push --dry|wgkeys push --dry-run 
		wgkeys push --tunnel=wg|wgkeys push --tunnel=wg0 
		wgkeys help rotati|wgkeys help rotation 
	END
	$tmux kill-session -t "$1"
	say "Tab in $(here "$1" --version | sed -n '1s/^GNU \(bash\), version \([0-9.]*\).*/\1 \2/; 1p'): $keys of $keys lines completed"
}

# habits is all of it, as the user ada, in whose folder stays what is written.
habits() {
	manual
	here cp /etc/zsh/newuser.zshrc.recommended /home/ada/.zshrc
	here su - ada -c 'wgkeys init -q net && cd net && printf "%s\n" "[hosts.basalt]" "addresses = [\"10.77.0.1/24\"]" \
		"[hosts.shale]" "tags = [\"web\"]" "endpoint = \"192.0.2.1\"" "addresses = [\"10.77.0.2/24\"]" >tunnels/wg0.toml &&
		wgkeys gen basalt shale' >"$work/$name/ada" 2>&1 || fail "$(cat "$work/$name/ada")"
	export -f inside
	export root
	for shell in bash zsh fish; do tab $shell; done
}
