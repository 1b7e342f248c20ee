#!/bin/bash
# Snapshots: of busy volumes, plain and encrypted; of several at one instant; held; and a worker that dies meanwhile.
# machine: --disk 4G
# build: FAILPOINTS=1
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
root=/run/quarry/mnt/default

# Appends numbered lines to a file, each synced, until it is ended: what was counted is on the disk.
cat >/run/writer <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
for n in range(1 << 30):
    os.write(fd, b"%d\n" % n)
    os.fsync(fd)
    with open(sys.argv[1] + ".count", "w") as f:
        f.write(str(n))
PY

fsck_of() { # FS DEVICE
    if [ "$1" = xfs ]; then xfs_repair -n "$2"; else e2fsck -fn "$2"; fi
}

# --- of a busy volume ---
for kind in "plain ext4" "plain xfs" "encrypted ext4" "encrypted xfs"; do
    read -r key fs <<<"$kind"
    name=$key-$fs
    options=()
    [ "$key" = plain ] || options=(--encrypt)
    try quarry create "$name" --size 400M --fs "$fs" "${options[@]}"
    try quarry mount "$name"
    python3 /run/writer "$root/$name/log" &
    writer=$!
    ok "$kind: the writer is under way" wait_for 30 test -s "$root/$name/log.count"
    echo unsynced >"$root/$name/unsynced"
    before=$(tail -n 1 "$root/$name/log")
    exits "$kind: snapshot" 0 quarry snapshot "$name@one"
    is "$kind: its name is printed" "$out" "$name@one"
    at=$(tail -n 1 "$root/$name/log")
    ok "$kind: the writer goes on" wait_for 30 eval '[ "$(tail -n 1 '"$root/$name/log"')" -gt '"$at"' ]'
    is "$kind: nothing is suspended" "$(dmsetup info -c --noheadings -o suspended | sort -u)" Active
    exits "$kind: it is mounted read-only beside its origin" 0 quarry mount -o ro "$name@one"
    is "$kind: at its place" "$out" "$root/$name@one"
    last=$(tail -n 1 "$root/$name@one/log")
    ok "$kind: it has what was synced before" [ "$last" -ge "$before" ]
    ok "$kind: and not what was written later" [ "$last" -le "$(tail -n 1 "$root/$name/log")" ]
    is "$kind: it has what was written and not synced" "$(cat "$root/$name@one/unsynced")" unsynced
    not_ok "$kind: nobody can write to it" touch "$root/$name@one/file"
    device=$(findmnt -no SOURCE "$root/$name@one" | sed 's/\[.*//')
    exits "$kind: unmounted" 0 quarry umount "$name@one"
    not_ok "$kind: its place goes with it" test -e "$root/$name@one"
    kill $writer && wait $writer
    rm "$root/$name/unsynced"
    exits "$kind: mounted again" 0 quarry mount -o ro "$name@one"
    is "$kind: it is as it was" "$(tail -n 1 "$root/$name@one/log") $(cat "$root/$name@one/unsynced")" "$last unsynced"
    device=$(findmnt -no SOURCE "$root/$name@one" | sed 's/\[.*//')
    exec 9<"$device"
    umount "$root/$name@one"
    ok "$kind: its filesystem passes its check" fsck_of "$fs" "$device"
    exec 9<&-
done 2>/dev/null

# --- what is shown of them ---
is "ls shows volumes only" "$(quarry ls --no-legend -o name | xargs)" "encrypted-ext4 encrypted-xfs plain-ext4 plain-xfs"
is "ls --type snapshot" "$(quarry ls --type snapshot --no-legend -o name | xargs)" "encrypted-ext4@one encrypted-xfs@one plain-ext4@one plain-xfs@one"
is "ls --type all" "$(quarry ls --type all --no-legend -o name | wc -l)" 8
is "inspect --json" "$(json '.volumes[0] | [.name, .type, .held, .sizeBytes, .filesystem, .state] | tojson' quarry inspect plain-ext4@one)" '["plain-ext4@one","snapshot",false,419430400,"ext4","ready"]'
is "a volume tells how many it has" "$(json '.volumes[0] | [.type, .snapshots] | tojson' quarry inspect plain-ext4)" '["volume",1]'
refused "a snapshot is mounted read-only, and that is said" 1 'can only be read' quarry mount plain-ext4@one
refused "one of a snapshot" 1 'snapshots are made of volumes|exists already|is a snapshot' quarry snapshot "$(volume_uuid plain-ext4@one)@x"
refused "one of a volume that is not there" 3 'there is no volume nothing' quarry snapshot nothing@one
refused "one that is there" 7 'plain-ext4@one exists already' quarry snapshot plain-ext4@one
refused "a name that breaks the rule" 2 'snapshot name' quarry snapshot 'plain-ext4@a b'
refused "create of a snapshot's name" 1 'name of a snapshot' quarry create x@y --size 64M
refused "trim of one" 1 'can only be read' quarry trim plain-ext4@one
exits "without a name" 0 quarry snapshot plain-ext4
like "it is called by the time" "$out" '^plain-ext4@20[0-9]{6}T[0-9]{6}Z$'
try quarry rm --yes "$out"

# --- holding ---
exits "hold" 0 quarry hold plain-ext4@one
refused "what is held is not removed" 4 'is held' quarry rm --yes plain-ext4@one
refused "nor with its volume" 4 'is held' quarry rm --yes --snapshots plain-ext4
is "which stays whole" "$(quarry ls --type all --no-legend -o name | grep -c ^plain-ext4)" 2
refused "a volume is not held" 1 'is a volume' quarry hold plain-ext4
exits "release" 0 quarry release plain-ext4@one
try quarry umount plain-ext4
refused "a volume with snapshots is not removed" 4 'has 1 snapshot' quarry rm --yes plain-ext4
try quarry mount plain-ext4@one -o ro /mnt
exec 9<"$(findmnt -nvo SOURCE /mnt)"
umount /mnt
refused "nor with one whose device somebody has open" 4 'plain-ext4@one is in use: used by snapshot.sh' quarry rm --yes --snapshots plain-ext4
is "and all stays" "$(quarry ls --type all --no-legend -o name | grep -c ^plain-ext4)" 2
exec 9<&-
try quarry mount plain-ext4@one -o ro /mnt
umount /mnt
exits "unless they are meant too, also one that umount(8) unmounted just now" 0 quarry rm --yes --snapshots plain-ext4
is "and then all is gone" "$(quarry ls --type all --no-legend -o name | grep -c ^plain-ext4)" 0

# --- several at one instant ---
try quarry create a --size 64M
try quarry create b --size 64M --encrypt
try quarry create c --size 16M --fs none
try quarry mount a
try quarry mount b
# One program that writes the same number to a and then to b: b is never ahead.
python3 - "$root" <<'PY' &
import os, sys
a, b = (os.open(f"{sys.argv[1]}/{n}/n", os.O_CREAT | os.O_WRONLY, 0o600) for n in "ab")
for n in range(1 << 30):
    for fd in (a, b):
        os.pwrite(fd, b"%012d" % n, 0)
        os.fdatasync(fd)
PY
writer=$!
wait_for 20 test -s $root/b/n
exits "three volumes, one of them closed" 0 quarry snapshot a b c --name group
is "all are printed" "$(sort <<<"$out" | xargs)" "a@group b@group c@group"
kill $writer && wait $writer
try quarry mount -o ro a@group
try quarry mount -o ro b@group
a=$(cat $root/a@group/n) b=$(cat $root/b@group/n)
ok "they are of one instant: a is b, or one ahead" [ $((10#$a - 10#$b)) -ge 0 -a $((10#$a - 10#$b)) -le 1 ]
refused "one that is there already, and none is made" 7 'a@group exists' quarry snapshot c@other a@group
is "none" "$(quarry ls --type snapshot --no-legend -o name --filter name=c@other | wc -l)" 0
refused "a volume twice" 2 'twice' quarry snapshot a@x a@y
exits "of what has no filesystem" 0 quarry mount c@group
like "its device can be read" "$(blockdev --getro "$out")" 1
try quarry umount a@group b@group c@group

# --- the worker is killed while the volumes are frozen ---
mkdir -p /run/quarry/failpoints && chmod 0777 /run/quarry/failpoints
for _ in 1 2 3; do
    python3 /run/writer $root/a/log &
    writer=$!
    wait_for 30 test -s $root/a/log.count
    echo die >/run/quarry/failpoints/volume_snapshot.frozen
    refused "killed while a and b are frozen" 1 'worker' quarry snapshot a b --name dead
    at=$(cat $root/a/log.count)
    ok "they go on by themselves" wait_for 30 eval '[ "$(cat '"$root"'/a/log.count)" -gt $((at + 1)) ]'
    ok "nothing stays suspended" wait_for 10 eval '! dmsetup info -c --noheadings -o suspended | grep -q Suspended'
    is "nor noted" "$(ls /run/quarry/frozen)" ""
    is "nothing was made" "$(quarry ls --type snapshot --no-legend -o name --filter name=a@dead | wc -l)" 0
    kill $writer && wait $writer
    rm $root/a/log $root/a/log.count
done 2>/dev/null
exits "and the next works" 0 quarry snapshot a b --name alive

# --- behind a restart ---
systemctl kill -s KILL quarryd
is "all are there" "$(quarry ls --type snapshot --no-legend -o name --filter name=b@alive)" b@alive
try quarry umount a b
for name in a b c encrypted-ext4 encrypted-xfs plain-xfs; do
    findmnt -n "$root/$name" >/dev/null && quarry umount $name >/dev/null
    ok "$name goes, with its snapshots" quarry rm --yes --snapshots $name
done
ok "no thin device is left" no_thin_device_is_left
is "nor a device" "$(volume_devices)" ""
finish
