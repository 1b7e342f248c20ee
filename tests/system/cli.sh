#!/bin/bash
# The command with the real daemon: unreachable, --json of every verb, live completion, 80 columns, progress.
# machine: --disk 1G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

# --- the daemon is not there ---
try systemctl stop quarryd.socket quarryd.service
refused "without the daemon" 8 'cannot reach quarryd at /run/quarry/io.quarry' quarry ls
like "what to run is said" "$err" 'try: .*systemctl start quarryd.socket'
for verb in "ls" "create x --size 1G" "inspect x" "exists x" "mount x" "umount x" "rm x" "pool ls" "pool inspect p" "pool rm p" \
    "pool import" "pool export p" "pool create p /dev/vda"; do
    # shellcheck disable=SC2086 # words
    exits "$verb exits with 8" 8 quarry $verb
done
is "in JSON too" "$(quarry ls --json | jq -r .error.kind)" Unreachable
ok "help needs no daemon" quarry help create
exits "what it said to run" 0 eval "$(sed -n 's/.*try: *//p' <<<"$err" | grep systemctl || echo systemctl start quarryd.socket)"
exits "helps" 0 quarry ls

# --- the daemon cannot start ---
try systemctl stop quarryd.service
mkdir -p /etc/quarry/quarry.conf.d
echo 'Typo' >/etc/quarry/quarry.conf.d/typo.conf
not_ok "a typo in the configuration keeps quarryd from starting" timeout 15 quarry ls
like "nobody waits for it in the dark" "$err" 'no answer from quarryd yet; see: journalctl -u quarryd'
like "where one is sent the reason is told" "$(journalctl -u quarryd.service -n 20)" 'typo\.conf:1'
rm /etc/quarry/quarry.conf.d/typo.conf
exits "with the typo gone it starts by itself" 0 timeout 60 quarry ls

# --- JSON ---
json_of() { # WHAT FILTER COMMAND...: it must be one document with version 1 in which the filter holds
    local what=$1 filter=$2
    shift 2
    run "$@" --json
    ok "$what --json" jq -es "length == 1 and (.[0] | .version == 1 and ($filter))" <<<"$out"
    is "$what --json says nothing else" "$err" ""
}
json_of "pool create" '.pool.name == "default" and .pool.state == "active"' quarry pool create default /dev/vda
json_of "create" '.volume.name == "a" and .existed == false' quarry create a --size 64M --label app=x
json_of "create that fails" '.error.kind == "VolumeExists" and (.error.message | length > 0)' quarry create a --size 32M
json_of "ls" '.volumes | length == 1 and (.[0].sizeBytes == 67108864)' quarry ls
json_of "inspect of two, one missing" '(.volumes | length == 1) and .errors[0].kind == "NoSuchVolume" and .errors[0].object == "b"' quarry inspect a b
json_of "exists" '.exists == true' quarry exists a
json_of "exists not" '.exists == false' quarry exists b
json_of "mount" '.path == "/run/quarry/mnt/default/a"' quarry mount a
json_of "rm in use" '.removed == [] and .errors[0].kind == "VolumeBusy"' quarry rm a
json_of "umount" '.unmounted == ["a"]' quarry umount a
json_of "rm --dry-run" '.wouldRemove[0].name == "a"' quarry rm --dry-run a
json_of "pool ls" '.pools | length == 1' quarry pool ls
json_of "pool inspect" '.pools[0].volumes == 1' quarry pool inspect default
json_of "pool rm refused" '.errors[0].kind == "PoolBusy"' quarry pool rm default
json_of "pool export" '.exported == ["default"]' quarry pool export default
json_of "pool import" '.pools[0].name == "default"' quarry pool import
json_of "bad usage" '.error.kind == "BadRequest"' quarry create x --size many
json_of "status" '.problems == [] and .pools[0].name == "default"' quarry status
json_of "df" '.volumes[0].name == "a" and .volumes[0].totalBytes > 0 and .errors == []' quarry df
json_of "df of one" '.volumes[0].name == "a"' quarry df a
json_of "rm" '.removed == ["a"]' quarry rm a

# --- completion with live names ---
for name in web-one web-two other; do try quarry create $name --size 16M --fs none; done
complete_words() { # WORD...: what TAB offers for the last
    bash -c '. /usr/share/bash-completion/completions/quarry
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*"
        COMP_POINT=${#COMP_LINE}
        compopt() { :; }
        _quarry quarry "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf "%s\n" "${COMPREPLY[@]}"' bash "$@" | sort | xargs
}
is "names of volumes" "$(complete_words quarry rm web)" "web-one web-two"
is "for mount" "$(complete_words quarry mount o)" "other"
is "names of pools" "$(complete_words quarry pool rm '')" "default"
is "of options' values" "$(complete_words quarry create x --pool d)" "default"
is "verbs" "$(complete_words quarry um)" "umount"
is "options" "$(complete_words quarry create x --fs)" "--fs"
is "for zsh and fish, too" "$(quarry complete -- pool rm '')" "default"

# --- on a terminal of 80 columns ---
terminal() { # COMMAND: what it shows there, without colours
    tmux -f /dev/null new-session -d -x 80 -y 50 "TERM=screen $1 2>&1; sleep 1000"
    sleep "${2-3}"
    tmux capture-pane -p
    tmux kill-server
}
long=a-volume-with-a-rather-long-name-as-containers-get-them-$(printf 'f%.0s' {1..40})
try quarry create "$long" --size 64M --encrypt --label app=something
try quarry mount "$long"
shown=$(terminal 'quarry ls')
is "ls: every line fits" "$(awk 'length($0) > 80' <<<"$shown")" ""
is "ls: one line for each volume, and the head" "$(grep -c . <<<"$shown")" 5
like "ls: sizes for people" "$shown" ' 64M '
like "rm asks first, and shows what there is to lose" "$(terminal 'quarry rm other')" 'other +\(16M.*Remove this volume and everything in it\?'
ok "and without an answer nothing is removed" quarry exists other
shown=$(TERM=xterm python3 -c 'import pty; pty.spawn(["quarry", "create", "slow", "--size", "300M", "--fs", "xfs"])' | cat -v)
like "progress is shown while it works" "$shown" 'creating slow: making the filesystem'
like "and taken away at the end" "$shown" '\^M\^\[\[Kslow\^M$'
run quarry create quiet --size 300M --fs xfs
is "without a terminal there is none" "$err" ""
try quarry rm quiet slow
like "with nothing there, ls says how to begin" "$(quarry rm -y other web-one web-two >/dev/null; quarry umount "$long" >/dev/null; quarry rm -y "$long" >/dev/null; terminal 'quarry ls')" \
    'quarry create NAME --size 10G'

# --- what happened, and what happens ---
told=$(mktemp)
quarry events --json >"$told" 2>/dev/null &
events=$!
follows() { quarry create heard --size 16M --fs none; quarry rm -y heard; test -s "$told"; }
ok "what happens is told" wait_for 60 follows
try quarry create logged --size 16M --fs none
tells_it() { jq -es 'any(.volume == "logged" and .verb == "create" and .result == "ok" and .durationUsec > 0)' "$told"; }
ok "each with its result and duration" wait_for 20 tells_it
try quarry rm -y logged
try quarry create logged --size 17M --fs none
journalctl --sync
like "log shows who made it, and how that ended" "$(quarry log logged | head -1)" \
    '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z root: create logged \(16M\): done in [0-9.]+m?s$'
is "what was removed, too" "$(quarry log logged | sed -E 's/.*root: ([a-z]+ .*): done.*/\1/' | xargs)" \
    "create logged (16M) rm logged create logged (17M)"
json_of "log" '.events | map(.verb) == ["create", "rm", "create"] and (.[0] | .callerUid == 0 and .result == "ok" and .durationUsec > 0)' \
    quarry log logged
json_of "log with the message as the daemon tells it" '.events[0].message == "create for uid 0 done"' quarry log logged
is "the newest" "$(json '.events[].sizeBytes' quarry log logged -n 1)" $((17 << 20))
is "since then" "$(json '.events | length' quarry log logged --since 1h)" 3
is "until then" "$(json '.events | length' quarry log logged --until 1h)" 0
is "by the UUID" "$(json '.events | map(.verb) | join(" ")' quarry log "$(volume_uuid logged)")" create
is "of no other tenant" "$(json '.events | length' quarry log logged --tenant acme)" 0
ok "the entry has its fields" jq -es 'any(.QUARRY_VOLUME == "logged" and .QUARRY_VERB == "create" and .QUARRY_CALLER_UID == "0")' \
    <<<"$(journalctl MESSAGE_ID=f4dd14fbc1e9440fa53f0dc22995d6fa -o json)"
exits "others than members and administrators get nothing" 6 setpriv --reuid=65534 --regid=65534 --clear-groups quarry log
try systemctl stop quarryd.service
wait "$events"
is "events end with the daemon" $? 8
like "the journal is there without it" "$(quarry log logged -n 1)" 'create logged \(17M\)'
rm -f "$told"

finish
