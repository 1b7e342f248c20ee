#!/bin/bash
# A pool that fills: with room it grows under its writers; without, they are stopped while there is still some, and
# come back when there is more. For ext4 and XFS, plain and encrypted.
# machine: --disk 1G --disk 3G
# takes: long
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"
writer=$(dirname "$0")/space-writer
results=$(mktemp -d)

field() { json ".pools[0].$1" quarry pool inspect "${2-default}"; }
stopped() { quarry ls --json | jq -r '[.volumes[] | select(.stopped) | .name] | join(" ")'; }
nobody_is_stopped() { [ -z "$(stopped)" ]; }
all_are_stopped() { [ "$(stopped)" = "ee ep xe xp" ]; }
mode() { dmsetup status --noflush "quarry-$(pool_uuid)" | cut -d' ' -f8; }
error_of() { jq -r .error "$results/$1"; }

# --- with room: nobody notices ---
try vgcreate -q host /dev/vdb
try quarry pool create share --vg host --size 700M
try quarry create grow --pool share --size 4G
path=$(quarry mount share:grow)
before=$(field dataSizeBytes share)
ok "a pool with room in its volume group has it listed" test "$(field roomBytes share)" -gt $((1 << 30))
"$writer" "$path/f" 900 >"$results/grow"
is "a writer at full speed, beyond what the pool had, sees no error" "$(error_of grow)" null
ok "the pool has grown" test "$(field dataSizeBytes share)" -gt $((before + (200 << 20)))
echo "# a call of the writer took $(jq -r '"\(.median) s, and \(.longest) s at most"' "$results/grow")"
ok "what it synced is there" "$writer" --check "$path/f" "$(cat "$results/grow")"
try quarry umount share:grow
try quarry rm share:grow
try quarry pool rm share

# --- without: 4 writers into 1 GiB ---
try quarry pool create default /dev/vda
try quarry create ep --size 2G
try quarry create ee --size 2G --encrypt
try quarry create xp --size 2G --fs xfs
try quarry create xe --size 2G --fs xfs --encrypt
for v in ep ee xp xe; do
    try quarry mount $v
    "$writer" "/run/quarry/mnt/default/$v/f" >"$results/$v" 2>"$results/$v.err" &
done
wait
for v in ep ee xp xe; do is "the writer of $v is stopped by its filesystem" "$(error_of $v)" ENOSPC; done
is "the pool did not run full" "$(mode)" rw
echo "# $(field dataSizeBytes) bytes of data, $(($(field dataSizeBytes) - $(field dataUsedBytes))) left"
is "and says how it stands" "$(field space)" stopped
like "so does inspect, with what to do" "$(quarry pool inspect default)" 'quarry pool extend default'
exits "the doctor finds it" 1 quarry doctor
like "and says what to do, as it can be run" "$out" 'quarry pool extend default (DEVICE|--size SIZE); quarry trim --all'
ok "all volumes are listed as stopped" wait_for 20 all_are_stopped
refused "no volume is made" 5 'nearly full' quarry create more --size 64M
like "and what to do is said" "$err" 'quarry pool extend default'
like "the journal tells" "$(journalctl -u quarryd --no-pager | grep 'no new space')" 'make space'
for v in ep ee xp xe; do ok "what the writer of $v synced is there" "$writer" --check "/run/quarry/mnt/default/$v/f" "$(cat "$results/$v")"; done
for v in ep ee xp xe; do
    exits "$v: what has its space can be overwritten" 0 \
        dd if=/dev/urandom of="/run/quarry/mnt/default/$v/f" bs=4k count=1 seek=250 conv=notrunc,fsync
    exits "$v: nothing new can be written, and that is said at once" 1 \
        timeout 20 dd if=/dev/zero of="/run/quarry/mnt/default/$v/new" bs=1M count=8 conv=fsync
    rm -f "/run/quarry/mnt/default/$v/new"
done
is "a restart of the daemon lets nobody go" "$(systemctl restart quarryd && stopped)" "ee ep xe xp"

# --- space is made ---
for v in ep ee xp xe; do truncate -s 16M "/run/quarry/mnt/default/$v/f"; done
exits "what was deleted is given back" 0 quarry trim --all
ok "and everybody gets space again" wait_for 30 nobody_is_stopped
for v in ep ee xp xe; do
    ok "$v can be written" dd if=/dev/urandom of="/run/quarry/mnt/default/$v/again" bs=1M count=10 conv=fsync status=none
done
is "the pool is well" "$(field space)" ok
is "nothing was wrong with a filesystem" "$(journalctl -k --no-pager | grep -ciE 'EXT4-fs error|XFS.*(corrupt|shutdown)|Aborting journal')" 0

# --- a burst that no filesystem holds back ---
echo 5 >/sys/module/dm_thin_pool/parameters/no_space_timeout
try quarry create raw --size 2G --fs none
device=$(quarry mount raw)
exits "a volume without filesystem that fills the pool gets an error, in a bounded time" 1 \
    timeout 120 dd if=/dev/zero of="$device" bs=1M oflag=direct
like "which says so" "$err" 'No space left'
ok "the reserve was given" wait_for 20 sh -c 'journalctl -u quarryd --no-pager | grep -q "gets its reserve"'
try quarry umount raw
exits "the volume can be removed" 0 quarry rm raw
ok "and everybody gets space again" wait_for 60 nobody_is_stopped
for v in ep ee xp xe; do
    ok "$v can be written" dd if=/dev/urandom of="/run/quarry/mnt/default/$v/last" bs=1M count=4 conv=fsync status=none
    exits "$v is unmounted" 0 quarry umount $v
done
exits "the pool is well" 0 wait_for 20 sh -c '[ "$(quarry pool inspect default --json | jq -r ".pools[0].space")" = ok ]'
rm -rf "$results"
finish
