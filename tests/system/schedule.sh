#!/bin/bash
# Snapshots by schedule: they run, keep what they are to keep, leave out what did not change, survive restarts, and make
# up once for what was missed.
# machine: --disk 4G
# build: FAILPOINTS=1
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
root=/run/quarry/mnt/default
fast='*:*:0/4'

snapshots() { # VOLUME: how many
    json "[.volumes[] | select(.name | startswith(\"$1@\"))] | length" quarry ls --type snapshot
}
has() { [ "$(snapshots "$1")" -ge "$2" ]; }          # VOLUME N
rule() { json ".volumes[0].scheduleRules[0].$2" quarry inspect "$1"; } # VOLUME FIELD
ran_since() { [[ "$(rule "$1" lastRunAt)" > "$2" ]]; }   # VOLUME TIME
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
writer() { # VOLUME: something new all the time
    while echo >>"$root/$1/log" && sync "$root/$1/log"; do sleep 0.5; done 2>/dev/null
}

# --- what is no schedule ---
try quarry create db --size 64M
try quarry mount db
schedule_of() { json '.volumes[0] | [.snapshotSchedule, .scheduleRules] | tojson' quarry inspect "$1"; }
refused "what systemd does not understand" 2 'does not understand "every full moon"' quarry update db --snapshot-schedule 'hourly keep 3, every full moon keep 2'
refused "what never comes" 2 '"2001-01-01" never elapses' quarry update db --snapshot-schedule '2001-01-01 keep 1'
refused "an option" 2 'does not begin with -' quarry update db --snapshot-schedule '--iterations=99 keep 1'
refused "without a number" 2 'hourly keep 24' quarry update db --snapshot-schedule hourly
refused "more than may be" 2 '1 to 1000' quarry update db --snapshot-schedule 'hourly keep 1001'
refused "of a pool" 2 'does not understand "nonsense"' quarry pool update default --snapshot-schedule 'nonsense keep 3'
is "nothing was changed" "$(schedule_of db)" "[null,null]"
exits "commas, zones and words" 0 quarry update db --snapshot-schedule 'Mon,Wed *-*-1,15 8:00,20:00 Europe/Berlin keep 3,hourly keep 24'
is "each rule" "$(json '[.volumes[0].scheduleRules[] | [.expression, .keep]] | tojson' quarry inspect db)" '[["Mon,Wed *-*-1,15 8:00,20:00 Europe/Berlin",3],["hourly",24]]'
ok "the next run is known" wait_for 20 eval '[ "$(json .volumes[0].nextSnapshotAt quarry inspect db)" != null ]'

# --- it runs, and keeps what it is to keep ---
try quarry create idle --size 300M --fs xfs
try quarry create closed --size 64M --encrypt
try quarry mount idle
exits "a short one" 0 quarry update db --snapshot-schedule "$fast keep 2"
for name in idle closed; do try quarry update $name --snapshot-schedule "$fast keep 2"; done
writer db &
writer=$!
ok "the first comes" wait_for 30 has db 1
hold_newest() { # the oldest may go meanwhile
    quarry hold "$(quarry ls --type snapshot --no-legend -o name --sort created | grep ^db@ | tail -n 1)"
}
ok "it can be held" wait_for 20 hold_newest
name=$(json '.volumes[] | select(.held) | .name' quarry ls --type snapshot)
like "it is called by the time" "$name" '^db@auto-20[0-9]{6}T[0-9]{6}Z'
is "and tells by which rule" "$(json '.volumes[0].rule' quarry inspect "$name")" "$fast"
newer() { [ "$(quarry ls --type snapshot --no-legend -o name | grep ^db@ | sort | sed -n 2p)" \> "$1" ]; }
first=$(quarry ls --type snapshot --no-legend -o name --sort created | grep ^db@ | tail -n 1)
ok "older ones go" wait_for 60 newer "$first"
ok "the newest two are kept, and the held one" wait_for 10 eval '[ "$(snapshots db)" = 3 ]'
ok "the held one" quarry inspect "$name"
ok "of a volume that does not change one is made, and of a closed one" wait_for 20 eval '[ "$(snapshots idle) $(snapshots closed)" = "1 1" ]'
ok "its rule runs all the same" wait_for 20 ran_since closed "$(now)"
is "and makes none" "$(snapshots closed) $(snapshots idle)" "1 1"
echo new >$root/idle/file
ok "once it changed there is another" wait_for 20 has idle 2
try quarry mount closed
try quarry umount closed
ok "so there is once it was opened" wait_for 20 has closed 2
listed() { quarry ls --no-legend -o name,schedule,last-snapshot,next-snapshot | grep -E '^db +\*:\*:0/4 keep 2 +20[^ ]*Z +20[^ ]*Z'; }
ok "ls shows when" wait_for 10 listed # while it runs, the next is not known until systemd was asked
like "inspect shows each rule" "$(quarry inspect db)" 'Schedule: .*\*:\*:0/4 keep 2'
exits "all is well" 0 quarry status
like "and said to be" "$out" 'All is well'

# --- restarts ---
count=$(snapshots idle)
systemctl kill -s KILL quarryd
before=$(now)
ok "it goes on behind a kill" wait_for 30 ran_since db "$before"
is "what did not change is still known" "$(snapshots idle)" "$count"
base=base
quarry rename db base >/dev/null 2>&1 || base=db # where there is that verb
try quarry update $base --snapshot-schedule "$fast keep 20"
systemctl stop quarryd.socket quarryd
kill $writer; wait $writer 2>/dev/null
echo more >>$root/$base/log
last=$(date +%s)
sleep 25 # six times
systemctl start quarryd.socket quarryd
ok "what was missed is made up for" wait_for 20 ran_since $base "$(date -u -d "@$last" +%Y-%m-%dT%H:%M:%SZ)"
made="$(json "[.volumes[] | select(.name | startswith(\"$base@\")) | select(.createdAt > \"$(date -u -d "@$last" +%Y-%m-%dT%H:%M:%SZ)\")] | length" quarry ls --type snapshot)"
ok "once; the next may have come since" [ "$made" -ge 1 -a "$made" -le 2 ]

# --- the clock ---
exits "a rule for once a day" 0 quarry update idle --snapshot-schedule 'daily keep 4'
count=$(snapshots idle)
echo newer >$root/idle/file
date -s '+1 day' >/dev/null
ok "the clock is set forward: it is due" wait_for 20 has idle $((count + 1))
like "its name has the word" "$(quarry ls --type snapshot --no-legend -o name)" 'idle@daily-20'
date -s '-1 day' >/dev/null
ok "and back: it waits for tomorrow" wait_for 20 eval '[ "$(json .volumes[0].nextSnapshotAt quarry inspect idle)" = "$(date -u -d "tomorrow 00:00" +%Y-%m-%dT%H:%M:%SZ)" ]'

# --- of the pool, and off ---
exits "off" 0 quarry update $base --snapshot-schedule none
exits "a default of the pool" 0 quarry pool update default --snapshot-schedule "$fast keep 1"
try quarry create other --size 64M
ok "it is for those that have none of their own" wait_for 20 has other 1
is "not for those that have" "$(schedule_of $base)" '["none",null]'
exits "unless they are to be as the pool has it" 0 quarry update $base --snapshot-schedule default
is "then it has its rule" "$(rule $base expression)" "$fast"
ok "and it runs" wait_for 20 ran_since $base "$(now)"

# --- failures ---
mkdir -p /run/quarry/failpoints && chmod 0777 /run/quarry/failpoints
echo hello >$root/$base/changed
for _ in 1 2 3 4 5 6; do # whichever rule runs then, its worker dies
    echo die >/run/quarry/failpoints/volume_snapshot.frozen
    wait_for 10 eval '[ ! -e /run/quarry/failpoints/volume_snapshot.frozen ]'
    [ "$(rule $base failure)" = null ] || break
    echo hello >>$root/$base/changed
done
like "a failure is shown" "$(rule $base failure)" worker
exits "by status, too" 1 quarry status
like "with what to do" "$out" "no snapshot by the rule.*"
ok "and in the log" eval "journalctl -u quarryd | grep -q 'no snapshot by the rule'"
echo hello >>$root/$base/changed
ok "it is gone once it works" wait_for 20 eval '[ "$(rule '$base' failure)" = null ]'
exits "off again" 0 quarry pool update default --snapshot-schedule none
is "no rules are left" "$(json '[.volumes[] | select(.scheduleRules != null) | .name] | tojson' quarry ls)" '["closed","idle"]'
finish
