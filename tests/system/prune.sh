#!/bin/bash
# Filters, prune and protected volumes, with real mounts: what nobody holds goes, what anybody holds stays.
# machine: --disk 2G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

names() { quarry ls --no-legend -o name "$@" | xargs; }

try quarry pool create default /dev/vda
try quarry create plain --size 64M --label app=test
try quarry create big --size 400M --fs xfs --label app=test
try quarry create secret --size 32M --encrypt
try quarry create mounted --size 32M
try quarry create device --size 16M --fs none
try quarry create hidden --size 32M
try quarry create pictured --size 32M
try quarry tenant create ci
try quarry create ci/run --size 16M --fs none
try quarry create db --size 64M --protect --label app=db
try quarry mount mounted
try quarry mount device
try quarry snapshot pictured@one
# Only this process has it mounted: nothing on the host tells but the open device.
try quarry mount hidden
unshare --mount --propagation private sleep 1000 &
holder=$!
wait_for 10 eval '[ "$(readlink /proc/$holder/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ]'
try umount /run/quarry/mnt/default/hidden

# --- filters ---
is "what nobody has mounted or open" "$(names --filter unused)" "big ci/run db hidden pictured plain secret"
is "two at once" "$(names --filter 'fs=xfs,unused')" "big"
is "by size" "$(names --filter 'size>=64M,size<400M')" "db plain"
is "by what they take" "$(names --filter 'used>0,fs=none')" ""
is "by labels, and without one" "$(names --filter 'label=app=test') / $(names --filter 'label!=app,tenant=default,unused')" \
    "big plain / hidden pictured secret"
is "by tenant" "$(names --filter tenant=ci)" "ci/run"
is "by age" "$(names --filter 'created<1d,key=host') / $(names --filter 'created>1d')" "secret / "
is "by snapshots" "$(names --filter 'snapshots>0')" "pictured"
is "protected ones" "$(names --filter protected)" "db"
refused "a column that is not there" 2 'there is no column "colour"; there are: name, size' quarry ls --filter fs=xfs,colour=red
refused "a value that never is" 2 'fs is one of: ext4 xfs none' quarry prune --yes --filter fs=ntfs

# --- protected ---
like "ls shows it" "$(quarry ls)" 'db .*ready,protected'
like "and so does inspect" "$(quarry inspect db)" 'Protected: +yes'
try quarry snapshot db@one
try quarry mount db
try sh -c 'echo first >/run/quarry/mnt/default/db/file'
before=$(state)
for how in "" --lazy --snapshots "--lazy --snapshots"; do
    # shellcheck disable=SC2086 # words
    refused "rm $how" 4 'try: quarry update --no-protect db' quarry rm --yes $how db
done
is "it stays mounted, and all is as before" "$(state)" "$before"
is "with what it holds" "$(cat /run/quarry/mnt/default/db/file)" first
try quarry rename db store
try systemctl restart quarryd
refused "behind a restart, under another name" 4 'store is protected from being removed' quarry rm --yes store
try quarry umount store
try quarry rollback --yes --discard-current store@one
ok "it can be rolled back, and is protected" eval '[ "$(names --filter protected)" = store ]'
ok "a snapshot of it can be removed" quarry rm --yes store@one
refused "it cannot" 4 'is protected' quarry rm --yes store

# --- prune ---
before=$(state)
run quarry prune --dry-run --filter 'tenant=default'
is "what would go" "$(sed -n 's/would remove \([^ ]*\) .*/\1/p' <<<"$out" | xargs)" "big hidden plain secret"
like "and what it takes" "$(tail -n 1 <<<"$out")" '^4 volumes, [0-9.]+M used$'
like "and what would not, with the reason" "$err" 'skipped pictured: it has 1 snapshot.*skipped store: it is protected'
is "nothing went" "$(state)" "$before"
used=$(json '.usedBytes' quarry prune --dry-run --filter name=big)
is "the sum is that of the volumes" "$used" "$(json '.volumes[0].usedBytes' quarry inspect big)"
exits "those that match" 0 quarry prune --yes --filter 'label=app=test,size>100M'
is "go" "$out" big
exits "the others, too" 0 quarry prune --yes
is "in every tenant" "$(xargs <<<"$out")" "ci/run plain secret"
like "what somebody has is skipped, and is no failure" "$err" "skipped hidden: .*in use.*sleep \(pid $holder"
is "what is left" "$(names)" "device hidden mounted pictured store"
is "and nothing of the others" "$(json '[.findings[].object | select(endswith(".service") | not)] | join(" ")' quarry doctor)" ""
end "$holder"
exits "let go" 0 wait_for 30 eval 'quarry prune --yes && ! quarry exists hidden'
try quarry umount mounted device
try quarry update store --no-protect
json_of=$(quarry prune --yes --json)
is "as JSON" "$(jq -c '[.version, .removed, [.skipped[].object], .errors]' <<<"$json_of")" \
    '[1,["device","mounted","store"],["pictured"],[]]'
ok "with its snapshots the last one goes" quarry rm --yes --snapshots pictured
exits "nothing is left to prune" 0 quarry prune --yes
is "and nothing is said" "$out$err" ""
refused "all is not meant where nobody is asked" 2 "needs a filter, or --yes" quarry prune

finish
