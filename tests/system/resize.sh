#!/bin/bash
# Volumes that change while they are used: labels and owner, name, size.
# machine: --disk 4G
# build: FAILPOINTS=1
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
root=/run/quarry/mnt/default

# --- labels and owner ---
printf secret >/run/key
try quarry create plain --size 64M --label app=one --label old=1
try quarry create locked --size 64M --key-file /run/key
try quarry create raw --size 16M --fs none
labels() { json '.volumes[0].labels | tojson' quarry inspect "$1"; }
exits "update: labels" 0 quarry update plain --label app=two --label 'new=a b' --label old-
is "they are set and removed" "$(labels plain)" '{"app":"two","new":"a b"}'
exits "update: a label that is not there is removed" 0 quarry update plain --label old-
refused "a label both set and removed" 2 'given twice' quarry update plain --label a=1 --label a-
refused "a label without a value" 2 'KEY=VALUE' quarry update plain --label a
refused "nothing to change" 2 'what is to be changed' quarry update plain
refused "of a volume that is not there" 3 'there is no volume' quarry update nothing --label a=1
try quarry mount plain
exits "owner, group and mode of a mounted volume" 0 quarry update plain --uid 1000 --gid 1001 --mode 2750
is "its directory has them" "$(stat -c '%u %g %a' $root/plain)" "1000 1001 2750"
is "so has the row" "$(json '.volumes[0] | [.uid, .gid, .mode] | tojson' quarry inspect plain)" "[1000,1001,1512]"
chown 77 $root/plain
try quarry update plain --gid 5
is "what is not named stays as it is" "$(stat -c '%u %g %a' $root/plain)" "77 5 2750"
try quarry snapshot plain@s
exits "labels of a snapshot" 0 quarry update plain@s --label kept=yes
is "are its own" "$(labels plain@s) $(labels plain)" '{"app":"two","kept":"yes","new":"a b"} {"app":"two","new":"a b"}'
refused "but not its owner" 1 'can only be read' quarry update plain@s --uid 1
refused "what has no filesystem has no owner" 1 'has no filesystem' quarry update raw --mode 0700
refused "a closed volume with a passphrase needs it" 6 'passphrase' quarry update locked --mode 0700 </dev/null
is "and nothing was changed" "$(json '.volumes[0].mode' quarry inspect locked)" 493
exits "with it" 0 quarry update locked --mode 0700 --key-file /run/key
is "it is closed again" "$(json '.volumes[0].open' quarry inspect locked)" false
try quarry mount locked --key-file /run/key
is "its directory has the mode" "$(stat -c %a $root/locked)" 700
exits "while it is open it needs none" 0 quarry update locked --mode 0711
is "its directory has that mode" "$(stat -c %a $root/locked)" 711
systemctl kill -s KILL quarryd
is "labels outlive a restart" "$(labels plain)" '{"app":"two","new":"a b"}'
try quarry umount plain locked
try quarry rm --yes --snapshots plain
try quarry rm --yes raw

# Appends numbered lines to a file, each synced, until it is ended: it fails if a write does.
cat >/run/writer <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
count = os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY, 0o600)
for n in range(1 << 30):
    os.write(fd, b"%d\n" % n)
    os.fsync(fd)
    os.pwrite(count, b"%012d" % n, 0)
PY
write_to() { # FILE: sets $writer
    rm -f /run/count
    python3 /run/writer "$1" /run/count &
    writer=$!
    wait_for 30 test -s /run/count
}
goes_on() {
    local at
    at=$(cat /run/count)
    kill -0 "$writer" && wait_for 30 eval '[ "$(cat /run/count)" -gt '"$at"' ]'
}
fsck_of() { # FS DEVICE
    if [ "$1" = xfs ]; then xfs_repair -n "$2"; else e2fsck -fn "$2"; fi
}
check() { # NAME FS: unmounts it, and checks its filesystem
    local device
    device=$(findmnt -no SOURCE "$root/$1" | sed 's/\[.*//')
    exec 9<"$device"
    umount "$root/$1" && fsck_of "$2" "$device"
    local status=$?
    exec 9<&-
    return "$status"
}
mib() { df --output=size -BM "$root/$1" | tail -n 1 | tr -dc '0-9'; }
bytes() { json '.volumes[0].sizeBytes' quarry inspect "$1"; }
closed() { [ "$(json '.volumes[0].open' quarry inspect "$1")" = false ]; }

# --- another name ---
for key in plain encrypted; do
    options=()
    [ $key = plain ] || options=(--encrypt)
    try quarry create "$key" --size 64M "${options[@]}"
    try quarry mount "$key"
    write_to $root/$key/log
    try quarry snapshot $key@s
    try quarry mount -o ro $key@s
    mkdir /run/bind-$key && mount --bind $root/$key /run/bind-$key
    exec 8<$root/$key/log
    mkdir $root/$key/in && mount -t tmpfs none $root/$key/in
    refused "$key: no rename while something is mounted in it" 4 "at $root/$key/in" quarry rename $key $key-2
    refused "$key: and no lazy unmount" 4 "at $root/$key/in" quarry umount --lazy $key
    refused "$key: an unmount says what it is" 4 "at $root/$key/in" quarry umount $key
    is "$key: it stays" "$(findmnt -no FSTYPE $root/$key/in)" tmpfs
    umount $root/$key/in
    exits "$key: rename while it is mounted and written to" 0 quarry rename $key $key-2
    is "$key: its new name is printed" "$out" $key-2
    ok "$key: the writer goes on" goes_on
    ok "$key: into the file that is at the new place" [ "$(tail -n 1 $root/$key-2/log)" -gt 0 ]
    is "$key: an open file can be read" "$(head -n 1 <&8)" 0
    exec 8<&-
    not_ok "$key: the old place is gone" test -e $root/$key
    is "$key: the snapshot moved too" "$(head -n 1 $root/$key-2@s/log)" 0
    not_ok "$key: and stays read-only" touch $root/$key-2@s/x
    not_ok "$key: its old place is gone" test -e $root/$key@s
    is "$key: a bind mount stays" "$(head -n 1 /run/bind-$key/log)" 0
    is "$key: the links are those of the new names" "$(cd /dev/quarry/default && echo $key*)" "$key-2 $key-2@s"
    end "$writer"
    umount /run/bind-$key
    is "$key: it is found by its new name" "$(quarry ls --type all --no-legend -o name | grep ^$key | xargs)" "$key-2 $key-2@s"
    refused "$key: and not by the old one" 3 'no volume' quarry inspect $key
    exits "$key: unmounted under its new name" 0 quarry umount $key-2@s $key-2
    exits "$key: renamed while it is closed" 0 quarry rename $key-2 $key-3
    try quarry mount $key-3
    is "$key: and mounted" "$(head -n 1 $root/$key-3/log)" 0
    try quarry umount $key-3
done 2>/dev/null
refused "a name that is taken" 7 'exists already' quarry rename plain-3 encrypted-3
refused "a name that breaks the rule" 2 'name' quarry rename plain-3 'a b'
refused "the name of a snapshot" 2 'name' quarry rename plain-3 a@b
refused "a snapshot" 1 'is a snapshot' quarry rename plain-3@s x
exits "the name that it has" 0 quarry rename plain-3 plain-3
try quarry rm --yes --snapshots plain-3 encrypted-3

# --- growing ---
for kind in "plain ext4 64" "plain xfs 300" "encrypted ext4 64"; do
    read -r key fs size <<<"$kind"
    name=$key-$fs
    options=()
    [ "$key" = plain ] || options=(--encrypt)
    try quarry create "$name" --size "${size}M" --fs "$fs" "${options[@]}"
    try quarry mount "$name"
    write_to "$root/$name/log"
    before=$(mib "$name")
    exits "$kind: +200M while it is written to" 0 quarry resize "$name" +200M
    is "$kind: its new size is printed" "$out" "$((size + 200))M"
    ok "$kind: df shows it" [ "$(mib "$name")" -ge $((before + 180)) ]
    ok "$kind: the writer goes on" goes_on
    end "$writer"
    ok "$kind: the new space can be filled" dd if=/dev/zero of="$root/$name/fill" bs=1M count=150 conv=fsync
    rm "$root/$name/fill"
    ok "$kind: its filesystem passes its check" check "$name" "$fs"
    wait_for 20 closed "$name"
    exits "$kind: to 600M while it is closed" 0 quarry resize "$name" 600M
    is "$kind: it is closed again" "$(json '.volumes[0].open' quarry inspect "$name")" false
    try quarry mount "$name"
    ok "$kind: df shows that" [ "$(mib "$name")" -ge 500 ]
    ok "$kind: and it passes its check" check "$name" "$fs"
    is "$kind: inspect shows it" "$(bytes "$name")" $((600 << 20))
done 2>/dev/null
exits "a passphrase volume while it is open" 0 quarry mount locked --key-file /run/key
refused "takes its passphrase" 6 'passphrase' quarry resize locked 128M </dev/null
printf wrong >/run/wrong
refused "and the right one" 6 'does not open' quarry resize locked 128M --key-file /run/wrong
is "else it stays as it is" "$(bytes locked) $(mib locked)" "$((64 << 20)) $(mib locked)"
exits "with it" 0 quarry resize locked 128M --key-file /run/key
ok "it has grown" [ "$(mib locked)" -ge 100 ]
try quarry umount locked
refused "and while it is closed" 6 'passphrase' quarry resize locked +1M </dev/null
is "nothing was opened" "$(json '.volumes[0].open' quarry inspect locked)" false
try quarry create raw --size 16M --fs none
device=$(quarry mount raw)
exits "a volume without filesystem while it is open" 0 quarry resize raw 32M
is "its device is larger" "$(blockdev --getsize64 "$device")" $((32 << 20))
refused "more than the pool may promise" 5 'may promise' quarry resize raw 500T
refused "more than there is" 2 'at most' quarry resize raw 8192T
refused "no size" 2 'is not a size' quarry resize raw much
exits "--dry-run" 0 quarry resize raw +1M --dry-run
is "says what would be" "$out" "would resize raw from 32M to 33M"
refused "and judges it" 5 "may promise" quarry resize raw 500T --dry-run
refused "without a filesystem it does not shrink" 1 "no filesystem" quarry resize raw -1M --dry-run
try quarry snapshot raw@s
refused "snapshots" 1 'can only be read' quarry resize raw@s 64M

# --- shrinking ---
hidden() { echo $(($(thin_ids | wc -l) - $(quarry ls --type all --no-legend -o name | wc -l))); } # templates
before=$(hidden)
refused "XFS" 1 'XFS, which cannot shrink' quarry resize plain-xfs 400M
refused "no filesystem" 1 'cannot know' quarry resize raw -1M
for name in plain-ext4 encrypted-ext4; do
    exits "$name: mounted" 0 quarry mount $name
    dd if=/dev/urandom of=$root/$name/data bs=1M count=40 status=none
    sum=$(sha256sum <$root/$name/data)
    refused "$name: while it is in use" 4 'in use' quarry resize $name 200M
    try quarry umount $name
    refused "$name: less than it holds" 5 'needs at least [0-9]+M' quarry resize $name 32M
    refused "$name: less than ext4 needs" 5 'at least 16M' quarry resize $name 8M
    exits "$name: to 100M" 0 quarry resize $name -500M
    is "$name: its new size is printed" "$out" 100M
    is "$name: it is closed" "$(json '.volumes[0].open' quarry inspect $name)" false
    try quarry mount $name
    ok "$name: df shows it" [ "$(mib $name)" -le 100 ]
    is "$name: its files are whole" "$(sha256sum <$root/$name/data)" "$sum"
    ok "$name: and it passes its check" check $name ext4
    ok "$name: and is closed by itself" wait_for 20 closed $name
    exits "$name: it can grow again" 0 quarry resize $name 128M
done
exits "locked: with its passphrase" 0 quarry resize locked 64M --key-file /run/key
is "no thin device is left over" "$(hidden)" "$before"

# --- the worker is killed ---
mkdir -p /run/quarry/failpoints && chmod 0777 /run/quarry/failpoints
die() { # POINT
    echo die >/run/quarry/failpoints/"$1"
}
try quarry mount encrypted-ext4
sum=$(sha256sum <$root/encrypted-ext4/data)
for step in "growing the thin device" "growing the encryption" "growing the filesystem"; do
    size=$(bytes encrypted-ext4)
    die "volume_grow.${step// /-}.run"
    exits "killed before $step: it goes on" 0 quarry resize encrypted-ext4 +16M
    is "killed before $step: it has grown" "$(bytes encrypted-ext4)" $((size + (16 << 20)))
done
try quarry umount encrypted-ext4
for step in "making a copy" "checking the filesystem" "shrinking the filesystem"; do
    size=$(bytes encrypted-ext4)
    die "volume_shrink.${step// /-}.run"
    exits "killed before $step: it goes on" 0 quarry resize encrypted-ext4 -8M
    is "killed before $step: it has shrunk" "$(bytes encrypted-ext4)" $((size - (8 << 20)))
done
# What cannot be done to its end, and cannot be taken back at once, is given up later.
fail() { # POINT
    echo "fail 5" >/run/quarry/failpoints/"$1"
}
try quarry mount encrypted-ext4
size=$(bytes encrypted-ext4)
fail volume_grow.growing-the-filesystem.run
fail volume_grow.growing-the-encryption.undo
refused "it does not grow" 1 'does not grow|failpoint|Input/output' quarry resize encrypted-ext4 +16M
like "and the way out is told" "$err" "give it up: quarry resize encrypted-ext4 $((size >> 20))M"
refused "nor is it rolled back meanwhile" 4 'has not grown' bash -c 'quarry snapshot encrypted-ext4@s && quarry rollback -y encrypted-ext4@s'
exits "it is given up" 0 quarry resize encrypted-ext4 $((size >> 20))M
is "and has what it had" "$(bytes encrypted-ext4)" "$size"
is "so has its device" "$(blockdev --getsize64 "/dev/mapper/quarry-$(volume_uuid encrypted-ext4)-crypt" 2>/dev/null || echo "$size")" "$size"
is "its files are whole" "$(sha256sum <$root/encrypted-ext4/data)" "$sum"
exits "it can grow again" 0 quarry resize encrypted-ext4 +16M
exits "and the snapshot goes" 0 bash -c 'quarry rm -y encrypted-ext4@s && quarry umount encrypted-ext4'
# quarryd dies when it has noted what it is about to do.
die catalog.ready.after
quarry resize plain-ext4 +16M >/dev/null 2>&1
ok "quarryd killed: the growth is gone on with" wait_for 20 eval '[ "$(bytes plain-ext4)" = '$((144 << 20))' ]'
try quarry mount encrypted-ext4
is "the files are whole" "$(sha256sum <$root/encrypted-ext4/data)" "$sum"
ok "and the filesystem passes its check" check encrypted-ext4 ext4
is "no thin device is left over" "$(hidden)" "$before"
finish
