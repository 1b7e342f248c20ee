#!/bin/bash
# The program that looks for what must never be finds nothing in a healthy machine, and each kind of damage.
# machine: --disk 2G --disk 1G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"
export PYTHONDONTWRITEBYTECODE=1
invariants=$(dirname "$0")/../torture/invariants

exits "nothing is wrong without a pool" 0 "$invariants"
try quarry pool create default /dev/vda
try quarry create a --size 64M --encrypt
try quarry create b --size 300M --fs xfs
try quarry create c --size 16M --fs none
try quarry mount a
try quarry mount b
exits "nothing is wrong with volumes open, mounted and closed" 0 "$invariants"
is "and it says nothing" "$out" ""
cat >/tmp/ledger <<'EOL'
{"do": "create", "name": "a", "filesystem": "ext4", "encrypted": true, "mib": 64}
{"do": "create", "name": "a", "done": true}
{"do": "create", "name": "b", "filesystem": "xfs", "encrypted": false, "mib": 300}
{"do": "create", "name": "b", "done": true}
{"do": "create", "name": "c", "filesystem": "none", "encrypted": false, "mib": 16}
{"do": "create", "name": "c", "done": true}
{"do": "create", "name": "never", "filesystem": "none", "encrypted": false, "mib": 16}
{"do": "remove", "name": "b"}
EOL
exits "nor with what a ledger says" 0 "$invariants" --ledger /tmp/ledger

ledger() { (cat /tmp/ledger; printf '%s\n' "$@") >/tmp/other; }
with_ledger() { # WHAT REGEX LINE...
    local what=$1 regex=$2
    shift 2
    ledger "$@"
    exits "finds $what" 1 "$invariants" --ledger /tmp/other
    like "and says so" "$out" "$regex"
}
with_ledger "a volume that should be gone" 'volume b must not be there' '{"do": "remove", "name": "b", "done": true}'
with_ledger "one that should be there" 'volume never must be there' '{"do": "create", "name": "never", "done": true}'
with_ledger "contents that should be there" 'volume c .* is not whole: slot 0, block 0: write 1 of c was synced, and there is zeros' \
    '{"do": "write", "name": "c", "slot": 0, "number": 1}' '{"do": "write", "name": "c", "slot": 0, "number": 1, "done": true}'

try quarry snapshot c@s
with_ledger "a snapshot that nobody asked for" 'snapshot c@s is in the catalog, and nobody asked for it' '{"do": "write", "name": "c", "slot": 5, "number": 1}'
echo '{"do": "snapshot", "names": ["c@s"]}' >>/tmp/ledger
ledger '{"do": "resize", "name": "c", "mib": 20}' '{"do": "rename", "name": "c", "to": "d"}' '{"do": "clone", "snapshot": "c@s", "name": "e"}' \
    '{"do": "rollback", "name": "c", "snapshot": "c@s", "keep": true}' '{"do": "remove", "name": "a", "snapshots": true}'
exits "nothing is wrong with what was not answered, and not done" 0 "$invariants" --ledger /tmp/other --answers /tmp/answers
is "how it turned out can be read" "$(jq -r '"\(.do) \(.done)"' /tmp/answers | xargs)" \
    "create false remove false snapshot true resize false rename false clone false rollback false remove false"
with_ledger "half a group" 'snapshot a@s must be there' '{"do": "snapshot", "names": ["c@s", "a@s"]}'
with_ledger "contents of a snapshot" 'snapshot c@s .* is not whole: slot 0, block 0: write 1 of c' \
    '{"do": "write", "name": "c", "slot": 0, "number": 1, "done": true}' '{"do": "snapshot", "names": ["c@s"], "done": true}'
with_ledger "a protection" 'volume c .* is not whole: it should be protected' '{"do": "protect", "name": "c", "on": true, "done": true}'
with_ledger "a tenant" 'tenant t1 may have nothing: it is not there, and should 7' '{"do": "tenant", "name": "t1", "there": true, "limit": 7, "done": true}'
with_ledger "a size" 'volume c .* is not whole: it should have 20 MiB' '{"do": "resize", "name": "c", "mib": 20, "done": true}'
with_ledger "a name" 'volume d must be there' '{"do": "rename", "name": "c", "to": "d", "done": true}'
ledger '{"do": "snapshot", "names": ["c@s"], "done": true}' '{"do": "write", "name": "c", "slot": 0, "number": 1, "done": true}' \
    '{"do": "rollback", "name": "c", "snapshot": "c@s", "keep": false}'
exits "nothing is wrong with what was not answered, and done" 0 "$invariants" --ledger /tmp/other --answers /tmp/answers
is "that is seen by the contents" "$(jq -r '"\(.do) \(.done)"' /tmp/answers | tail -n 1)" "rollback true"

try dd if=/dev/urandom of="$(quarry mount c)" bs=128k seek=5 count=1 conv=notrunc,fsync
try quarry umount c
try quarry backup target add torture file:///var/repository
made=$(quarry backup run c | cut -d' ' -f1)
with_ledger "a backup that nobody asked for" "backup $made is listed, and nobody asked for it" '{"do": "target", "done": true}'
ledger '{"do": "target"}' '{"do": "backup", "name": "c"}'
exits "nothing is wrong with a backup that was not answered, and is whole" 0 "$invariants" --ledger /tmp/other --answers /tmp/answers
is "its ID can be read" "$(jq -r 'select(.do == "backup").id' /tmp/answers)" "$made"
done="{\"do\": \"backup\", \"name\": \"c\", \"id\": \"$made\", \"done\": true}"
with_ledger "a backup that should be there" 'backup 0123456789abcdef must be there, and is not listed' "$done" "${done/$made/0123456789abcdef}"
with_ledger "one that should be gone" "backup $made is listed, and must be gone" "$done" \
    "{\"do\": \"forget\", \"keep\": 3, \"removed\": [\"$made\"], \"done\": true}"
with_ledger "contents of a backup" 'not all backups are whole: slot 0, block 0: write 1 of c' \
    '{"do": "write", "name": "c", "slot": 0, "number": 1, "done": true}' "$done"
is "what was restored for that is gone" "$(quarry ls --no-legend -o name | grep -c restored)" 0
try rm -r /var/repository/data
with_ledger "a backup without its objects" 'not all backups are whole: quarry backup verify: .* is not there' "$done"
try quarry backup target rm torture
with_ledger "a target that is gone" 'the target of backups is gone' '{"do": "target", "done": true}'
try quarry rm --yes "c@backup-$made"

device=$(findmnt -no SOURCE "$(quarry mount a)" | sed 's/\[.*//')
try debugfs -w -R "set_inode_field <2> links_count 9" "$device"
with_ledger "a damaged filesystem" 'volume a .* is not whole: e2fsck' '{"do": "found", "name": "a", "there": true}'

# --- what the kernel, the pool and the catalog disagree about ---
finds() { # WHAT REGEX
    exits "finds $1" 1 "$invariants" --settle 1
    like "and says so" "$out" "$2"
}
quarry umount a b >/dev/null
target=quarry-$(pool_uuid)
try dmsetup message "$target" 0 "create_thin 4711"
finds "a thin device without a volume" '^thin device 4711 of pool .* belongs to no volume in the catalog$'
try dmsetup create quarry-11111111-2222-4333-8444-555555555555 --table "0 32768 thin /dev/mapper/$target 4711"
finds "a device without a volume" 'device quarry-11111111-2222-4333-8444-555555555555 belongs to no volume'
mkdir -p /run/quarry/mnt/default/stray
try mke2fs -q /dev/mapper/quarry-11111111-2222-4333-8444-555555555555
try mount /dev/mapper/quarry-11111111-2222-4333-8444-555555555555 /run/quarry/mnt/default/stray
finds "a mount without a volume" 'what is mounted at /run/quarry/mnt/default/stray belongs to no volume'
umount /run/quarry/mnt/default/stray
rmdir /run/quarry/mnt/default/stray
try dmsetup remove --retry quarry-11111111-2222-4333-8444-555555555555
try dmsetup message "$target" 0 "delete 4711"
truncate -s 1M /var/lib/quarry/stray.img
loop=$(losetup -f --show /var/lib/quarry/stray.img)
finds "a loop device without a pool" "^$loop has /var/lib/quarry/stray.img, which is no pool's file\$"
losetup -d "$loop"
echo QUARRY_NAME=stray >/run/quarry/udev/quarry-11111111-2222-4333-8444-555555555555
finds "the description of a device without a volume" 'quarry-11111111-2222-4333-8444-555555555555 describes a device of no volume'
rm /run/quarry/udev/quarry-11111111-2222-4333-8444-555555555555
mkdir -p /run/quarry/frozen
touch /run/quarry/frozen/one
finds "what is frozen" '^/run/quarry/frozen/one notes what is frozen$'
rm /run/quarry/frozen/one
user_key() { # ADD-OR-UNLINK: the key of a volume in root's keyring, as libcryptsetup names it
    python3 - "$1" <<'PY'
import ctypes
import sys
libc, keyring, name = ctypes.CDLL(None), -4, b"cryptsetup:11111111-2222-4333-8444-555555555555-d0"
key = libc.syscall(248, b"logon", name, b"secret", 6, keyring)
sys.exit(key < 0 or sys.argv[1] == "unlink" and libc.syscall(250, 9, key, keyring) < 0)
PY
}
try user_key add
finds "a key that was left behind" '^the volume key of 11111111-2222-4333-8444-555555555555 is left in a keyring'
try user_key unlink
quarry mount a >/dev/null
try dmsetup suspend "quarry-$(volume_uuid a)-crypt"
finds "a suspended device" "^device quarry-$(volume_uuid a)-crypt is suspended"
try dmsetup resume "quarry-$(volume_uuid a)-crypt"
b=$(volume_uuid b) # asked before: quarryd closes what it sees open and nobody uses
try dmsetup create --notable "quarry-$b"
finds "a device without a table" "^device quarry-$b has no table"
try dmsetup remove "quarry-$b"
try mount --bind /run/quarry/mnt/default/a /run/quarry/mnt/default/a
finds "mounts over each other" '^mounts lie over each other at /run/quarry/mnt/default/a'
umount /run/quarry/mnt/default/a
try quarry umount a
change() { # UPDATE...: of the catalog, while quarryd is away
    python3 -c 'import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.execute("UPDATE volume SET " + sys.argv[2])' "/run/quarry/catalog/${target#quarry-}/catalog.db" "$1"
}
try systemctl stop quarryd.socket quarryd.service
try change "old_name = 'old', pending_size = 4096, spare_thin_id = 0 WHERE name = 'a'"
finds "a volume that is being renamed" 'volume default/a .* is being renamed from old'
like "one that grows" "$out" 'volume default/a .* is growing to 4096'
like "and one with a spare thin device" "$out" 'volume default/a .* has a spare thin device, 0'
try change "old_name = NULL, pending_size = 0, spare_thin_id = NULL WHERE name = 'a'"
try change "tenant = 'nobody' WHERE name = 'a'"
finds "a volume of a tenant that is not there" '^tenant nobody of pool .* owns volumes, and is not there$'
try change "tenant = 'default' WHERE name = 'a'"
try change "origin = '11111111-2222-4333-8444-555555555555' WHERE role = 'snapshot'"
finds "a snapshot without its volume" 'snapshot default/s .* is of a volume that is not in the catalog'
try change "origin = (SELECT uuid FROM volume WHERE name = 'c') WHERE role = 'snapshot'"
try systemctl start quarryd.socket
exits "and nothing once all that is gone" 0 "$invariants"
thin_id=$(dmsetup table "quarry-$(quarry mount c >/dev/null; volume_uuid c)" | cut -d' ' -f5)
quarry umount c >/dev/null
try dmsetup message "$target" 0 "delete $thin_id"
finds "a volume without a thin device" "^volume default/c .* has no thin device: id $thin_id is not in"
finish
