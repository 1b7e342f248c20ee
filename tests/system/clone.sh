#!/bin/bash
# Volumes made of snapshots, and volumes that go back to one; also when a worker or quarryd dies meanwhile.
# machine: --disk 4G
# build: FAILPOINTS=1
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

mkdir -p /etc/quarry/quarry.conf.d
printf '[Encryption]\nArgon2Memory=1M\nArgon2Iterations=4\n' >/etc/quarry/quarry.conf.d/fast.conf
try quarry pool create default /dev/vda
root=/run/quarry/mnt/default
printf secret >/run/key
printf wrong >/run/wrong

filesystem_uuid() { blkid -p -o value -s UUID "$(findmnt -no SOURCE "$root/$1" | sed 's/\[.*//')"; }
header_uuid() { cryptsetup luksUUID "/dev/mapper/quarry-$(volume_uuid "$1")"; }
fsck_of() { # FS NAME
    local device
    device=$(findmnt -no SOURCE "$root/$2" | sed 's/\[.*//')
    exec 9<"$device"
    quarry umount "$2" >/dev/null
    if [ "$1" = xfs ]; then xfs_repair -n "$device"; else e2fsck -fn "$device"; fi
    local status=$?
    exec 9<&-
    return "$status"
}

# --- clones ---
for kind in "plain ext4" "host xfs" "passphrase ext4"; do
    read -r key fs <<<"$kind"
    v=$key-$fs
    options=() unlock=()
    [ "$key" != host ] || options=(--encrypt)
    [ "$key" != passphrase ] || { options=(--key-file /run/key); unlock=(--key-file /run/key); }
    try quarry create "$v" --size 300M --fs "$fs" --uid 7 --label a=b "${options[@]}"
    try quarry mount "$v" "${unlock[@]}"
    echo one >"$root/$v/file"
    try quarry snapshot "$v@s"
    echo two >"$root/$v/file"
    try quarry mount -o ro "$v@s" "${unlock[@]}"
    if [ "$key" = passphrase ]; then
        refused "$kind: a clone takes the passphrase" 6 '--key-file' quarry clone "$v@s" "$v-c"
        refused "$kind: the right one" 6 'passphrase does not open' quarry clone "$v@s" "$v-c" --key-file /run/wrong
    fi
    exits "$kind: a clone of a mounted snapshot" 0 quarry clone "$v@s" "$v-c" --label c=d "${unlock[@]}"
    is "$kind: its name is printed" "$out" "$v-c"
    is "$kind: it is as its origin was" "$(json '.volumes[0] | [.type, .sizeBytes, .filesystem, .uid, .labels] | tojson' quarry inspect "$v-c")" \
        "[\"volume\",314572800,\"$fs\",7,{\"c\":\"d\"}]"
    exits "$kind: it is mounted beside the two" 0 quarry mount "$v-c" "${unlock[@]}"
    echo three >"$root/$v-c/file"
    sync
    if [ "$key" = plain ]; then
        exits "$kind: and beside another one" 0 quarry clone "$v@s" "$v-d"
        try quarry mount "$v-d"
        is "$kind: which holds what the snapshot does" "$(cat "$root/$v-d/file")" one
        ok "$kind: and passes its check" fsck_of "$fs" "$v-d"
        try quarry rm --yes "$v-d"
    fi
    is "$kind: each holds its own" "$(cat "$root"/{"$v","$v@s","$v-c"}/file | xargs)" "two one three"
    [ "$fs" = xfs ] || not_ok "$kind: the filesystem's UUID is another" [ "$(filesystem_uuid "$v")" = "$(filesystem_uuid "$v-c")" ]
    [ "$fs" = xfs ] || is "$kind: that of the volume" "$(filesystem_uuid "$v-c")" "$(volume_uuid "$v-c")"
    [ "$key" = plain ] || is "$kind: its header has its UUID" "$(header_uuid "$v-c")" "$(volume_uuid "$v-c")"
    try quarry umount "$v" "$v@s"
    exits "$kind: the origin goes, with its snapshots" 0 quarry rm --yes --snapshots "$v"
    ok "$kind: the clone passes its check" fsck_of "$fs" "$v-c"
    try quarry mount "$v-c" "${unlock[@]}"
    is "$kind: and lives on" "$(cat "$root/$v-c/file") $(stat -c %u "$root/$v-c")" "three 7"
    try quarry umount "$v-c"
    [ "$v" = plain-ext4 ] || try quarry rm --yes "$v-c"
done
v=plain-ext4-c

try quarry create raw --size 16M --fs none --encrypt
printf hello | dd of="$(quarry mount raw)" conv=notrunc,fsync status=none
try quarry snapshot raw@s
exits "of what has no filesystem" 0 quarry clone raw@s raw-c
is "it holds the same" "$(head -c 5 "$(quarry mount raw-c)")" hello
try quarry umount raw raw-c
try quarry rm --yes --snapshots raw raw-c

try quarry snapshot $v@s
refused "a name that is there" 7 "volume $v exists already" quarry clone $v@s $v
refused "a snapshot's name" 2 'name of a snapshot' quarry clone $v@s x@y
refused "a clone of a volume" 1 'clones are made of snapshots' quarry clone $v x
refused "of a snapshot that is not there" 3 "no snapshot|there is no" quarry clone $v@nothing x
refused "a key for what has none" 2 'passphrase was given' quarry clone $v@s x --key-file /run/key
refused "another pool" 1 'cannot be in pool other' quarry clone $v@s other:x
try quarry rm --yes $v@s

# Checksums that are made with the UUID; a journal that was left as it was is replayed.
for features in ^metadata_csum_seed ^metadata_csum,uninit_bg; do
    quarry rm --yes --snapshots old >/dev/null 2>&1
    try quarry create old --size 64M --mkfs-option "-O $features"
    try quarry mount old
    echo one >$root/old/file
    try quarry snapshot old@s
    try quarry umount old
    exits "an ext4 with $features" 0 quarry clone old@s old-c
    try quarry mount old-c
    is "holds the same" "$(cat $root/old-c/file)" one
    is "has a UUID of its own" "$(filesystem_uuid old-c)" "$(volume_uuid old-c)"
    ok "and passes its check" fsck_of ext4 old-c
    try quarry rm --yes old-c
done
device=$(quarry mount old >/dev/null && findmnt -no SOURCE $root/old | sed 's/\[.*//')
exec 9<"$device"
try quarry umount old
debugfs -w -R 'feature needs_recovery' "$device" 2>/dev/null
exec 9<&-
try quarry snapshot old@dirty
exits "one whose journal is to be replayed" 0 quarry clone old@dirty old-d
try quarry mount old-d
is "holds the same, too" "$(cat $root/old-d/file) $(filesystem_uuid old-d)" "one $(volume_uuid old-d)"
try quarry umount old-d
try quarry rm --yes --snapshots old old-d

# --- rollback ---
content() { quarry mount "$1" >/dev/null && cat "$root/${1#*/}/file" && quarry umount "$1" >/dev/null; }
set_content() { quarry mount "$1" >/dev/null && echo "$2" >"$root/$1/file" && quarry umount "$1" >/dev/null; }
snapshots() { quarry ls --type snapshot --no-legend -o name | xargs; }
set_content $v first
try quarry snapshot $v@first
set_content $v second
try quarry mount $v
refused "a volume that is mounted stays as it is" 4 "in use: mounted at $root/$v" quarry rollback $v@first
try quarry umount $v
refused "one cannot go back to a volume" 1 'is a volume' quarry rollback $v
like "--dry-run says what it would do" "$(quarry rollback --dry-run $v@first)" 'would roll back to .*@first, and keep'
is "and does nothing" "$(content $v) $(snapshots)" "second $v@first"
exits "rollback" 0 quarry rollback $v@first
kept=$out
like "prints what is kept" "$kept" "^$v@before-rollback-20[0-9]{6}T[0-9]{6}Z\$"
is "the volume is what it was" "$(content $v)" first
try quarry mount -o ro "$kept"
is "and what it was before is kept" "$(cat "$root/$kept/file")" second
try quarry umount "$kept"
exits "forth again, and nothing is kept" 0 quarry rollback --yes --discard-current "$kept"
is "nothing is printed" "$out" ""
is "the volume is what it was then" "$(content $v)" second
try quarry rm --yes "$kept"
ok "two thin devices are left" wait_for 20 eval '[ "$(thin_ids | wc -l)" = 2 ]'
try quarry create vault --size 64M --key-file /run/key
try quarry snapshot vault@s
exits "of a volume with a passphrase it takes none" 0 quarry rollback vault@s
exits "which opens it as before" 0 quarry mount vault --key-file /run/key
try quarry umount vault
try quarry rm --yes --snapshots vault

# --- cut short ---
points=/run/quarry/failpoints
mkdir -p $points && chmod 0777 $points
whole() { # TEXT: the volume is one of the two, and nothing is half there
    local now kept
    ok "$1: nothing is under way" wait_for 30 eval '[ "$(thin_ids | wc -l)" = "$(quarry ls --type all --no-legend -o name | wc -l)" ]'
    now=$(content $v) kept=$(snapshots | tr ' ' '\n' | grep -c before-rollback)
    like "$1: what the volume is, and what is kept" "$now $kept" '^(second 0|first 1)$'
    [ "$now" = second ] || try quarry rollback --discard-current "$(snapshots | tr ' ' '\n' | grep before-rollback)"
    [ "$kept" = 0 ] || try quarry rm --yes "$(snapshots | tr ' ' '\n' | grep before-rollback)"
    wait_for 20 eval '[ "$(thin_ids | wc -l)" = 2 ]'
}
for point in volume_rollback.all.done catalog.ready.after; do
    echo die >$points/$point
    quarry rollback $v@first >/dev/null 2>&1
    not_ok "$point: it died" test -e $points/$point
    whole "$point"
done
for point in catalog.ready.before catalog.ready.after; do # of the commit that swaps
    echo hang >$points/volume_rollback.answer.before
    quarry rollback $v@first >/dev/null 2>&1 &
    wait_for 30 test -e $points/volume_rollback.answer.before.hangs
    echo die >$points/$point
    rm $points/volume_rollback.answer.before.hangs
    wait $!
    not_ok "swap, $point: quarryd died" test -e $points/$point
    whole "swap, $point"
done
echo die >$points/volume_clone.giving-the-filesystem-its-own-UUID.run
refused "a clone whose worker dies" 1 'worker' quarry clone $v@first x
ok "leaves nothing" wait_for 20 eval '[ "$(thin_ids | wc -l)" = 2 ]'
try quarry rm --yes --snapshots $v
ok "no thin device is left" no_thin_device_is_left
is "nor a device" "$(volume_devices)" ""
finish
