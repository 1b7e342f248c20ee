#!/bin/bash
# A tenant that may take only so much of the pool: counted as the blocks are, stopped above, let go below.
# machine: --disk 3G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

useradd --no-create-home alice
as() { setpriv --reuid="$1" --regid="$1" --init-groups -- "${@:2}"; }
limit=$((200 << 20))

used() { json '.tenants[0].usedBytes // 0' quarry tenant inspect acme; }
# The same by another way: which blocks its devices have, each one once.
blocks() {
    local target metadata ids volume tries dump
    target=quarry-$(pool_uuid)
    metadata=$(pool_part metadata)
    ids=$(for volume in $(quarry ls --type all --tenant acme --no-legend -o name); do
        dmsetup table "quarry-$(volume_uuid "$volume")" | awk '{ print $5 }'
    done)
    for ((tries = 0; tries < 100; tries++)); do # quarry takes the snapshot from whoever has it
        dmsetup message "$target" 0 reserve_metadata_snap 2>/dev/null || { sleep 0.1; continue; }
        if dump=$(thin_dump --metadata-snap -f human_readable "$metadata" 2>&1) &&
            dmsetup message "$target" 0 release_metadata_snap 2>/dev/null; then
            break
        fi
    done
    # shellcheck disable=SC2086
    python3 -c '
import re, sys
blocks, of = {}, None  # of devices by id, and of what several share, which stands before them
for line in sys.stdin:
    if found := re.match(r"(def|device): (\d+)", line):
        of = blocks.setdefault(found.groups(), set())
    elif found := re.search(r"-> \((\d+)\.\.(\d+)\)", line):
        of.update(range(int(found[1]), int(found[2]) + 1))
    elif found := re.search(r"ref: (\d+)", line):
        of.update(blocks["def", found[1]])
print(len(set().union(*(blocks["device", n] for n in sys.argv[1:]))) * 65536)' $ids <<<"$dump"
}
counted() { [ "$(used)" = "$(blocks)" ] && [ "$(used)" -gt 0 ]; }
over() { [ "$(used)" -gt "$limit" ]; }
stopped() { [ "$(json '.volumes[0].stoppedBy // "nobody"' quarry inspect acme/db)" = "$1" ]; }

try quarry pool create default /dev/vda
try quarry tenant create acme --user alice --max-used 200M
refused "no size" 2 'max-used' quarry tenant update acme --max-used lots
try quarry create other --size 256M
other=$(quarry mount other)

# --- counting ---
# Without a filesystem: nobody else writes into it.
try as alice quarry create raw --size 64M --fs none
raw=$(as alice quarry mount raw)
try dd if=/dev/urandom of="$raw" bs=1M count=60 conv=fsync
try as alice quarry snapshot raw@one
try as alice quarry mount -o ro raw@one
try dd if=/dev/urandom of="$raw" bs=1M count=20 conv=notrunc,fsync
ok "its use is counted, block by block" wait_for 90 counted
use=$(used)
sum=$(json '[.volumes[].usedBytes] | add' quarry inspect acme/raw acme/raw@one)
ok "what a snapshot shares is counted once" test "$use" -eq $((80 << 20)) -a "$sum" -eq $((120 << 20))
like "inspect shows it beside the limit" "$(quarry tenant inspect acme)" 'Used: +[0-9.]+M of 200M'
like "and how old it is" "$(quarry tenant inspect acme)" 'as of [0-9]+ s ago'
like "so does ls" "$(quarry tenant ls -o name,used,max-used)" 'acme +[0-9.]+M +200M'

# Of the same blocks others may have copies.
try quarry clone acme/raw@one default/theirs
theirs=$(quarry mount theirs)
try dd if=/dev/urandom of="$theirs" bs=1M count=10 conv=fsync
try dd if=/dev/urandom of="$raw" bs=1M seek=60 count=1 conv=notrunc,fsync
recounted() { counted && [ "$(used)" -gt "$use" ]; }
ok "what others have is theirs" wait_for 90 recounted
is "so it is as much more as was written" "$(used)" $((81 << 20))

# --- above ---
try as alice quarry create db --size 1G
path=$(as alice quarry mount db)
as alice dd if=/dev/zero of="$path/b" bs=1M count=700 conv=fsync 2>/tmp/dd & # as fast as it can
writer=$!
ok "a writer that goes on is stopped" wait_for 60 stopped tenant
wait $writer
sync -f "$path"
like "with a plain error" "$(cat /tmp/dd)" 'No space left'
wait_for 30 over
echo "# written at once until it is stopped: $((($(used) - limit) >> 20)) MiB above a limit of 200 MiB"
like "it is listed" "$(quarry ls --tenant acme -o name,state)" 'stopped'
like "and why" "$(quarry inspect acme/db)" 'until its tenant uses less'
exits "status says so" 1 quarry status
like "with what to do" "$out" 'quarry tenant inspect acme'
refused "nothing is made for it" 5 'may use 200M of pool default, and uses' as alice quarry create more --size 16M
refused "nor by an administrator" 5 'may use 200M' quarry create acme/more --size 16M
refused "nor grown" 5 'may use 200M' as alice quarry resize db +100M
refused "nor said that it would be" 5 'may use 200M' as alice quarry resize --dry-run db +100M
refused "nor imaged" 5 'may use 200M' as alice quarry snapshot db
ok "others write as before" dd if=/dev/urandom of="$other/x" bs=1M count=20 conv=fsync
exits "and are given what they ask for" 0 quarry create fine --size 16M
systemctl restart quarryd
ok "a restart lets nobody go" stopped tenant
not_ok "who still gets nothing" as alice dd if=/dev/urandom of="$path/c" bs=1M count=10 conv=fsync
ok "and stops nobody else" dd if=/dev/urandom of="$other/y" bs=1M count=5 conv=fsync

# --- below again ---
try as alice quarry umount raw@one
try as alice rm "$path/b" "$path/c"
exits "its member makes space" 0 as alice quarry trim db
ok "and is let go" wait_for 60 stopped nobody
ok "then it writes" as alice dd if=/dev/urandom of="$path/c" bs=1M count=10 conv=fsync
exits "and grows" 0 as alice quarry resize db +100M
exits "all is well" 0 quarry status
is "limits are kept" "$(json '.tenants[0].maxUsedBytes' quarry tenant inspect acme)" "$limit"

finish
