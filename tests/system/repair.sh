#!/bin/bash
# Damaged metadata of a pool: found when the pool is activated, repaired onto free space, and kept as it was.
# machine: --disk 1G --disk 512M
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

here=$(dirname "$0")
stop() {
    try systemctl stop quarryd.socket quarryd.service quarry-worker.socket
    try /usr/lib/quarry/quarry-worker --close-pools
}
start() { try systemctl start quarry-worker.socket quarryd.socket quarryd.service; }
damage() { # KIND LV: of a pool that is closed
    try lvchange -ay "$vg/$2"
    try python3 "$here/failpoints/damage.py" "$1" "/dev/$vg/$2"
    try lvchange -an "$vg/$2"
}
print_of() { # LV: of what is on it
    lvchange -ay "$vg/$1" && sha256sum <"/dev/$vg/$1" && lvchange -an "$vg/$1"
}
contents() {
    local v
    for v in db vault; do
        sha256sum <"$(quarry mount $v)/file"
        quarry umount $v >&2
    done
    sha256sum <"$(quarry mount raw)"
    quarry umount raw >&2
}
state() { json '.pools[0].state' quarry pool inspect "${1-default}"; }

try systemctl enable -q quarryd.service # else the doctor has something to say
try quarry pool create default /dev/vda
try quarry pool create other /dev/vdb
uuid=$(pool_uuid)
vg=quarry-$uuid first=quarry-$uuid-metadata second=quarry-$uuid-metadata-1
try quarry create db --size 200M
try quarry create vault --size 200M --encrypt
try quarry create raw --size 64M --fs none
for v in db vault; do
    try dd if=/dev/urandom of="$(quarry mount $v)/file" bs=1M count=8 conv=fsync status=none
    try quarry umount $v
done
try dd if=/dev/urandom of="$(quarry mount raw)" bs=1M count=4 conv=fsync status=none
try quarry umount raw
before=$(contents)

# --- sound ---
try quarry mount db
exits "a sound pool is checked while a volume is mounted" 0 quarry pool check default
is "and said to be sound" "$out" "default: sound"
refused "it cannot be repaired then" 4 'volume db of pool default is mounted at /' quarry pool check default --repair
like "and what to do is said" "$err" 'quarry umount db'
try quarry umount db
exits "a repair of a sound pool that nobody uses" 0 quarry pool check default --repair
is "finds nothing to do" "$out" "default: sound"
is "makes nothing" "$(lvs --noheadings "$vg" | wc -l)" 3
is "and the volumes are there" "$(contents)" "$before"
refused "only an administrator may ask" 6 'ermission denied|administrator' setpriv --reuid=65534 --regid=65534 --clear-groups quarry pool check default

# --- a part that can be made anew ---
stop
damage chunk-map "$first"
damaged=$(print_of "$first")
start
is "a pool with damaged metadata stays away" "$(state)" unavailable
exits "the list of volumes says that they are missing" 1 quarry ls
try quarry pool inspect default
like "with what is wrong" "$out" 'Failure: .*metadata of pool default is damaged: thin_check says: '
like "and what to do" "$out" 'quarry pool check default --repair'
refused "so says who asks for a volume" 1 'quarry pool check default --repair' quarry mount db
exits "the doctor" 1 quarry doctor
like "says it too" "$out" 'quarry pool check default --repair'
exits "another pool works" 0 quarry create c --pool other --size 64M
exits "it can be looked at" 1 quarry pool check default
like "which tells what is wrong" "$out" '^default: damaged: '
is "and changes nothing" "$(state) $(print_of "$first")" "unavailable $damaged"

try lvcreate -qq -y -Wn -an -Zn -l 100%FREE -n filler "$vg"
lvs_before=$(lvs --noheadings -o lv_name,lv_tags "$vg")
refused "without free space it is not repaired" 5 'needs .* beside the old.* has .* free' quarry pool check default --repair
like "and what would help is said" "$err" "vgextend $vg"
is "nothing has changed" "$(lvs --noheadings -o lv_name,lv_tags "$vg") $(print_of "$first")" "$lvs_before $damaged"
try lvremove -qq -y "$vg/filler"

exits "it is repaired" 0 quarry pool check default --repair
like "and where the old metadata is, is said" "$out" "kept in $vg/$first"
is "the pool is active" "$(state)" active
is "every volume has its contents" "$(contents)" "$before"
is "the old metadata is as it was" "$(print_of "$first")" "$damaged"
is "the new one is in use" "$(basename "$(readlink -f "/dev/$vg/$second")")" \
    "$(for s in "/sys/block/$(basename "$(readlink -f "/dev/mapper/$vg")")"/slaves/*; do grep -l -- metadata "$s/dm/name"; done | awk -F/ '{ print $(NF - 2) }')"
exits "the doctor" 0 quarry doctor
exits "a second repair" 0 quarry pool check default --repair
is "finds nothing to do" "$out" "default: sound"
exits "a volume is made" 0 quarry create new --size 64M
try systemctl restart quarryd
is "a restart finds the repaired metadata" "$(state)" active

# --- a superblock that is lost ---
stop
damage superblock "$second"
start
is "without superblock it stays away" "$(state)" unavailable
refused "the old metadata takes the room" 5 "needs .* beside the old" quarry pool check default --repair
like "which is said" "$err" "lvremove $vg/$first"
try lvremove -qq -y "$vg/$first"
exits "with room it is repaired" 0 quarry pool check default --repair
is "every volume has its contents" "$(contents)" "$before"
exits "the doctor" 0 quarry doctor
try lvremove -qq -y "$vg/$second"

# --- nothing is left of it ---
third=quarry-$uuid-metadata-2
stop
damage all "$third"
damaged=$(print_of "$third") lvs_before=$(lvs --noheadings -o lv_name,lv_tags "$vg")
start
refused "what is only garbage is not repaired" 1 'cannot be repaired, and nothing was changed' quarry pool check default --repair
is "nothing has changed" "$(lvs --noheadings -o lv_name,lv_tags "$vg") $(print_of "$third")" "$lvs_before $damaged"
is "the pool stays away" "$(state)" unavailable
is "and the other works" "$(state other)" active

# --- metadata that is kept goes with its pool ---
try quarry rm c
vg=quarry-$(pool_uuid other)
stop
damage chunk-map "$vg-metadata"
start
try quarry pool check other --repair
exits "a repaired pool is exported" 0 quarry pool export other
exits "and imported" 0 quarry pool import
is "with the metadata that counts" "$(state other)" active
exits "it is removed with what was kept" 0 quarry pool rm other
is "nothing is left of it" "$(pvs --noheadings -o vg_name /dev/vdb 2>/dev/null)" ""

finish
