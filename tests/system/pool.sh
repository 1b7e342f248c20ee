#!/bin/bash
# Pools: made of devices, of a share of a volume group, of a file; looked at, moved, removed without a trace.
# machine: --disk 1G --disk 512M --disk 1G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

lvm_names() { lvs --noheadings -o lv_name 2>/dev/null | xargs; }
thin_pool() { dmsetup table "quarry-$(pool_uuid "$1")"; }

# --- whole devices ---
exits "a pool of two devices is made" 0 quarry pool create default /dev/vda /dev/vdb
is "and its name is printed" "$out" default
uuid=$(pool_uuid)
exits "pool ls" 0 quarry pool ls
like "shows it as active" "$out" $'\ndefault .* active'
exits "pool inspect" 0 quarry pool inspect default
like "shows its devices" "$out" '/dev/vda.*/dev/vdb'
like "shows its state" "$out" 'State: +active'
like "shows how much may be promised" "$out" 'Promised: +0B to 0 volumes; at most 1\.[0-9]+T'
inspect=$(quarry pool inspect default --json)
is "the same in JSON" "$(jq -c '.pools[0] | [.name, .state, .origin, .devices, .chunkSizeBytes, .volumes, .provisionedBytes]' <<<"$inspect")" \
    '["default","active","devices",["/dev/vda","/dev/vdb"],65536,0,0]'
is "JSON has a version" "$(jq .version <<<"$inspect")" 1
data=$(jq '.pools[0].dataSizeBytes' <<<"$inspect")
ok "most of both devices is data" test "$data" -gt $((1200 << 20))
is "as MaxOverprovision= says" "$(jq '.pools[0].provisionedMaxBytes' <<<"$inspect")" $((data * 1000))
is "its volume group is its own" "$(jq -r '.pools[0].volumeGroup' <<<"$inspect")" "quarry-$uuid"
is "the thin-pool target is ours, with chunks of 64K over all of the data" "$(thin_pool default | cut -d' ' -f1-3,6)" \
    "0 $((data / 512)) thin-pool 128"
is "three logical volumes carry its tag" "$(lvs --noheadings -o lv_name "@quarry.pool=default" | wc -l)" 3
is "LVM does not activate them by itself" "$(lvs --noheadings -o autoactivation "@quarry.pool=default" | sort -u | xargs)" ""
ok "the catalog is mounted, so that nobody overwrites it" findmnt --noheadings "/run/quarry/catalog/$uuid"
refused "a second pool of this name" 7 'pool default exists already' quarry pool create default /dev/vdc
refused "a second pool on its device" 1 '/dev/vda is used by' quarry pool create other /dev/vda

# --- removal ---
try quarry create keep --size 64M
refused "a pool with a volume is not removed" 4 'pool default holds 1 volume' quarry pool rm default
like "and what to run is said" "$err" 'quarry ls --pool default'
ok "and nothing happened to it" quarry inspect keep
not_ok "LVM cannot take it away either" lvremove -y "@quarry.pool=default"
try quarry rm keep
exits "pool rm --dry-run" 0 quarry pool rm --dry-run default
like "says what it would do" "$out" 'would remove pool default'
is "and does nothing" "$(quarry pool ls --no-legend -o name)" default
exits "an empty pool is removed" 0 quarry pool rm default
is "no device-mapper device is left" "$(dmsetup ls)" "No devices found"
is "no logical volume, volume group, physical volume" "$(lvm_names; vgs --noheadings; pvs --noheadings)" ""
is "no signature" "$(wipefs -n /dev/vda /dev/vdb)" ""
is "no mount, no entry in the list" "$(find /run/quarry/catalog /var/lib/quarry/pools -mindepth 1)" ""
is "no pool is listed" "$(quarry pool ls --no-legend)" ""

# --- the same device again, with its own sizes ---
exits "the device can be used again" 0 quarry pool create default /dev/vda --metadata-size 128M --chunk-size 256K
is "with the sizes that were asked for" \
    "$(json '.pools[0] | [.metadataSizeBytes, .chunkSizeBytes] | map(tostring) | join(" ")' quarry pool inspect default)" "134217728 262144"
is "the kernel has that chunk size" "$(thin_pool default | cut -d' ' -f6)" 512
is "and that metadata" "$(blockdev --getsize64 "$(pool_part metadata)")" 134217728

# --- moving it ---
try quarry create a --size 64M --label keep=me
path=$(quarry mount a)
echo content >"$path/file"
refused "a pool with a mounted volume is not exported" 4 "volume a .*mounted at $path" quarry pool export default
is "and is there as before" "$(cat "$path/file")" content
try quarry umount a
exec 9<"$(pool_part data)" # somebody looks at it
refused "a pool with an open device is not exported" 4 'in use' quarry pool export default
exec 9<&-
is "and is as active as before" "$(json '.pools[0].state' quarry pool inspect default)" active
is "with its volume" "$(cat "$(quarry mount a)/file")" content
try quarry umount a
exits "export" 0 quarry pool export default
is "leaves no device" "$(dmsetup ls)" "No devices found"
is "and no pool" "$(quarry pool ls --no-legend)" ""
is "its logical volumes are on the disk" "$(lvs --noheadings -o lv_name "@quarry.pool=default" | wc -l)" 3
refused "the exported disk cannot be made a new pool" 1 'LVM2_member' quarry pool create new /dev/vda
refused "importing from a disk without one" 3 'found no pool' quarry pool import /dev/vdc
exits "importing without naming a disk finds it" 0 quarry pool import
is "and says so" "$out" default
path=$(quarry mount a)
is "the volume has its content" "$(cat "$path/file")" content
is "and its label" "$(json '.volumes[0].labels.keep' quarry inspect a)" me
try quarry umount a
refused "a second import finds nothing new" 3 'found no pool' quarry pool import
try quarry pool export default
exits "importing from the named disk" 0 quarry pool import /dev/vda
ok "has the volume too" quarry exists a

# --- a share of somebody's volume group, while another pool is there ---
try vgcreate -q host /dev/vdc
try lvcreate -q -y -L 64M -n theirs host
try mkfs.ext4 -q /dev/host/theirs
before=$(cksum </dev/host/theirs)
refused "a share of more than is free" 5 'host has .*free' quarry pool create share --vg host --size 2G
refused "a share of no volume group" 2 'no volume group nope' quarry pool create share --vg nope --size 512M
exits "a share is taken" 0 quarry pool create share --vg host --size 512M
is "it is a share" "$(json '.pools[0] | .origin + " " + .volumeGroup' quarry pool inspect share)" "vg host"
ok "of no more than was asked for" test "$(vgs --noheadings --nosuffix --units m -o vg_free host | cut -d. -f1)" -ge 440
exits "a volume on it" 0 quarry create b --pool share --size 64M
is "lies in it" "$(quarry ls --pool share --no-legend -o name)" b
is "both pools are listed" "$(quarry pool ls --no-legend -o name | xargs)" "default share"
try quarry rm b
exits "the share is given back" 0 quarry pool rm share
is "only theirs is left in the group" "$(lvs --noheadings -o lv_name host | xargs)" theirs
is "untouched" "$(cksum </dev/host/theirs)" "$before"

# --- a file ---
exits "a pool in a file" 0 quarry pool create try --file /var/tmp/try.img --size 512M
is "of root alone" "$(stat -c '%a %U' /var/tmp/try.img)" "600 root"
ok "that takes only what is used" test "$(du -m /var/tmp/try.img | cut -f1)" -lt 100
like "inspect names it" "$(quarry pool inspect try)" 'file /var/tmp/try.img'
try quarry create f --pool try --size 64M
echo in a file >"$(quarry mount f)/file"
try quarry umount f
exits "is exported" 0 quarry pool export try
is "the loop device is gone" "$(losetup -l --noheadings)" ""
mv /var/tmp/try.img /var/tmp/moved.img
exits "imported from where it was moved to" 0 quarry pool import /var/tmp/moved.img
is "with its content" "$(cat "$(quarry mount f)/file")" "in a file"
try quarry umount f

# --- a tenant that writes a pool of its own into its volume ---
try quarry pool export try
try quarry create evil --size 512M --fs none
device=$(quarry mount evil)
cp --sparse=always /var/tmp/moved.img "$device"
udevadm trigger --settle "$device"
refused "a pool inside a volume is not imported" 3 'found no pool' quarry pool import
is "and nothing in it was activated" "$(dmsetup ls | grep -c "$uuid\|--try--")" 0
try quarry umount evil
try quarry rm evil a
exits "a pool in a file is removed" 0 eval 'quarry pool import /var/tmp/moved.img && quarry rm f && quarry pool rm try'
not_ok "with its file" test -e /var/tmp/moved.img
try quarry pool rm default
is "only theirs is left" "$(lvm_names)" theirs

finish
