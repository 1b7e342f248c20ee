#!/bin/bash
# Space for pools in use: extended by devices, in a volume group, in a file; given back by trim.
# machine: --disk 512M --disk 512M --disk 2G
# takes: long
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

field() { json ".pools[0].$1" quarry pool inspect "${2-default}"; }
kernel_data() { dmsetup table "quarry-$(pool_uuid "$1")" | cut -d' ' -f2; }
used() { dmsetup status --noflush "quarry-$(pool_uuid "$1")" | cut -d' ' -f6 | cut -d/ -f1; }

# --- devices ---
try quarry pool create default /dev/vda
try quarry create db --size 1G
path=$(quarry mount db)
before=$(field dataSizeBytes)
while [ ! -e /run/stop ]; do
    { echo line >>"$path/log" && sync -d "$path/log"; } || touch /run/failed
done &
writer=$!

mkfs.ext4 -q -F /dev/vdb
print=$(bytes_of /dev/vdb)
refused "a device that bears a filesystem" 1 "ext4.*" quarry pool extend default /dev/vdb
like "is refused with what to run" "$err" 'wipefs'
is "untouched" "$(bytes_of /dev/vdb)" "$print"
refused "its own device is passed over, and the other one refused" 1 '/dev/vdb bears' quarry pool extend default /dev/vda /dev/vdb
refused "no device at all" 1 'no such|No such|does not exist|cannot' quarry pool extend default /dev/nope
refused "a size for a pool of devices" 2 'takes whole devices' quarry pool extend default --size 2G
refused "neither" 2 'by what' quarry pool extend default
is "and nothing has changed" "$(field dataSizeBytes)" "$before"
wipefs -aq /dev/vdb
exits "a device is added" 0 quarry pool extend default /dev/vdb
is "and the name printed" "$out" default
after=$(field dataSizeBytes)
ok "the pool has its space" test "$after" -ge $((before + (480 << 20)))
is "so the kernel says" "$(kernel_data default)" $((after / 512))
is "it is listed" "$(field 'devices | length')" 2
ok "and as much as the metadata stays free for a repair" \
    test "$(vgs --noheadings --nosuffix --units b -o vg_free "quarry-$(pool_uuid)")" -ge "$(field metadataSizeBytes)"
exits "the same again" 0 quarry pool extend default /dev/vdb
is "changes nothing" "$(field dataSizeBytes)" "$after"
touch /run/stop
wait $writer
not_ok "a writer has seen no error meanwhile" test -e /run/failed

# What is killed on the way: the volume is larger, and the kernel was not told.
data=$(lvs --noheadings -o lv_name "@quarry.role=data" | xargs)
try quarry pool create group --file /var/tmp/group.img --size 512M
uuid=$(pool_uuid group)
try truncate -s 600M /var/tmp/group.img
is "a file that only has grown changes nothing" "$(field dataSizeBytes group)" "$(($(kernel_data group) * 512))"

# --- a file ---
before=$(field dataSizeBytes group)
refused "a file does not shrink" 2 'cannot shrink' quarry pool extend group --size 300M
refused "nor takes devices" 2 'lies in a file' quarry pool extend group /dev/vdc
exits "a file grows" 0 quarry pool extend group --size 1G
ok "by that much" test "$(field dataSizeBytes group)" -ge $((before + (500 << 20)))
is "the kernel knows" "$(kernel_data group)" $(($(field dataSizeBytes group) / 512))
is "and no larger than asked for" "$(stat -c %s /var/tmp/group.img)" $((1 << 30))
# Its folder may be somebody's.
echo victim >/var/tmp/victim
mv /var/tmp/group.img /var/tmp/kept.img
ln -s victim /var/tmp/group.img
refused "a link in its place is not followed" 1 'symbolic links' quarry pool extend group --size 1100M
is "where it leads nothing changes" "$(cat /var/tmp/victim) $(losetup -n -O BACK-FILE -l | grep -c victim)" "victim 0"
mv /var/tmp/kept.img /var/tmp/group.img
try systemctl restart quarryd
ok "the pool is there after a restart" quarry create f --pool group --size 2G
try quarry rm f
try quarry pool rm group

# --- a share of a volume group ---
try vgcreate -q host /dev/vdc
try quarry pool create share --vg host --size 512M
refused "more than there is" 5 'could have' quarry pool extend share --size 4G
refused "a disk of somebody else's group" 2 'share of volume group host' quarry pool extend share /dev/vdc
exits "a share grows" 0 quarry pool extend share --size 1G
is "to what was asked for" "$(lvs --noheadings --nosuffix --units m -o lv_size host | awk '{ n += $1 } END { print int(n) + 64 }')" 1024
size=$(field dataSizeBytes share)
# As if the worker had died before the kernel was told.
try lvextend -q -L +64M "host/$(lvs --noheadings -o lv_name host | grep -- '-data' | xargs)"
exits "what was cut short is gone on with" 0 quarry pool extend share --size 1088M
is "the kernel has it all" "$(field dataSizeBytes share)" $((size + (64 << 20)))
try quarry pool rm share
is "no logical volume is left" "$(lvs --noheadings host)" ""
is "the data of the other pool is where it was" "$(lvs --noheadings -o lv_name "@quarry.role=data" | xargs)" "$data"

# --- trim ---
try quarry create enc --size 1G --encrypt
try quarry create shut --size 1G --fs xfs
for v in db enc shut; do
    path=$(quarry mount $v)
    ok "a burst into $v, in a pool with room, is written" \
        dd if=/dev/zero of="$path/big" bs=1M count=60 conv=fsync status=none
    rm "$path/big"
    sync -f "$path"
done
try quarry umount shut
for v in db enc shut; do
    before=$(used default)
    exits "$v is trimmed" 0 quarry trim $v --json
    freed=$(jq '.trimmed[0].freedBytes' <<<"$out")
    ok "and gives back what was deleted: $((freed >> 20)) MiB" test "$freed" -ge $((50 << 20))
    # which shows what was freed with the next commit, a second later at most
    ok "the pool's own counter says so too" wait_for 10 eval '[ $(((before - $(used default)) * 65536)) -ge $((50 << 20)) ]'
done
is "one that was closed is closed" "$(json '.volumes[0].open' quarry inspect shut)" false
is "one that was mounted is mounted" "$(quarry inspect db --json | jq '.volumes[0].holds | length')" 1
try quarry create raw --size 64M --fs none
refused "one without filesystem" 1 'no filesystem' quarry trim raw
exits "--all" 0 quarry trim --all
is "takes those with one" "$(cut -d' ' -f1 <<<"$out" | xargs)" "db enc shut"
refused "neither names nor --all" 2 'or give --all' quarry trim
finish
