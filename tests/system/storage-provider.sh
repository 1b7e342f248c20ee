#!/bin/bash
# io.systemd.StorageProvider on a real kernel: devices and directories that are handed over, and what becomes of them
# when their users go, one way or another.
# machine: --disk 2G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

socket=/run/systemd/io.systemd.StorageProvider/quarry
here=$(dirname "$0")
client() { "$here/storage-client" "$@"; }
# fails TITLE TEXT NAME [MEMBER=JSON]...
fails() {
    local status=0
    run client "${@:3}" || status=$?
    like "$1" "$status $err" "^1 $2"
}
# What a volume has in the kernel. Nobody of Quarry is asked for it, who could close it by that.
devices() { dmsetup ls | cut -f1 | grep -cE "^quarry-$1(-crypt)?$"; }
gone() { [ "$(devices "$1")" = 0 ]; }
keys() { grep -c "cryptsetup:$1" /proc/keys; }
# Begins a client that holds NAME [MEMBER=JSON]... until it is ended; $holder is its process.
hold() {
    rm -f /tmp/held
    "$here/storage-client" "$@" -- sh -c 'echo held >/tmp/held; exec sleep 1000' >/tmp/answer &
    holder=$!
    wait_for 60 test -s /tmp/held
}
slay() { # PID
    kill -9 "$1"
    wait "$1"
} 2>/dev/null
as() { setpriv --reuid="$1" --regid="$1" --init-groups -- "${@:2}"; }

useradd --no-create-home alice
useradd --no-create-home bob
try quarry pool create default /dev/vda
try quarry tenant create acme --user alice

# --- the service ---
is "everybody may connect" "$(stat -c '%F %a' $socket)" "socket 666"
is "it tells what it offers" "$(varlinkctl list-interfaces $socket | sort | xargs)" "io.systemd io.systemd.StorageProvider org.varlink.service"
varlinkctl introspect $socket io.systemd.StorageProvider >/tmp/idl
ok "in valid words" varlinkctl validate-idl /tmp/idl
list() { varlinkctl call --more --json=short $socket "io.systemd.StorageProvider.$1" "${2-{\}}" 2>&1 | tr -d '\036'; }
is "templates" "$(list ListTemplates '{"matchName":"ext4*"}' | jq -c '[.name, .type]' | xargs)" "[ext4,dir] [ext4-encrypted,dir]"
like "no volume" "$(list ListVolumes)" 'io.systemd.StorageProvider.NoSuchVolume'

# --- a device, encrypted, made by who asks for it ---
exits "a device is made and handed over" 0 client disk 'requestAs="blk"' 'template="raw-encrypted"' createSizeBytes=67108864 -- sh -c 'echo "was here" >&9'
is "to write to" "$out" "blk rw"
disk=$(volume_uuid disk)
ok "and is closed behind who wrote" wait_for 5 gone "$disk"
is "its key forgotten" "$(keys "$disk")" 0
is "nothing leads to it" "$(find /dev/quarry /run/quarry/udev ! -type d)" ""
is "it has what was written" "$(client disk readOnly=true -- sh -c 'head -c 8 <&9' | tail -n 1)" "was here"
exits "read-only the kernel lets nobody write" 1 client disk readOnly=true -- sh -c 'echo x >&9'
is "as what it is" "$(list ListVolumes | jq -c '[.name, .type, .readOnly, .sizeBytes]')" '["disk","blk",false,67108864]'

hold disk
is "while somebody has it, it is open" "$(devices "$disk")" 2
exits "another may have it, too" 0 client disk
refused "it is not removed" 4 'in use.*sleep' quarry rm disk
refused "nor locked" 4 'in use.*sleep' quarry key lock disk
exits "a snapshot is made" 0 quarry snapshot disk@s
refused "but not gone back to" 4 'in use' quarry rollback disk@s
exits "it grows" 0 quarry resize disk 96M
is "under who has it" "$(blockdev --getsize64 "/dev/mapper/quarry-$disk-crypt")" 100663296
exits "its keys are looked at" 0 quarry key status disk
quarry key remove disk --slot 7 >/dev/null 2>&1
slay $holder
ok "behind a client that was killed it is closed all the same" wait_for 5 gone "$disk"
is "and so is its key" "$(keys "$disk")" 0
exits "one is killed before it takes what it is handed" 137 client disk --die
ok "and nothing stays open" wait_for 5 gone "$disk"
is "nor known" "$(keys "$disk")" 0
exits "a snapshot is a device, too" 0 client disk@s
is "which can only be read" "$out" "blk ro"
fails "by everybody" 'StorageProvider.ReadOnlyVolume' disk@s readOnly=false
exits "it goes at once" 0 quarry rm --snapshots disk

# --- without quarryd ---
try quarry create raw --size 64M --fs none --encrypt
raw=$(volume_uuid raw)
hold raw
kill -9 "$(pidof quarryd)"
ok "quarryd comes back" wait_for 60 quarry ls
is "its death is not noticed by who has the device" "$(devices "$raw")" 2
refused "which is not removed" 4 'in use.*sleep' quarry rm raw
systemctl stop quarryd.socket quarry-worker.socket quarryd.service
is "its socket goes with it" "$(test -e $socket || echo gone)" gone
end $holder
ok "with nobody there the device is closed behind its last user" wait_for 5 gone "$raw"
systemctl start quarry-worker.socket quarryd.socket quarryd.service
exits "and the volume removed then" 0 quarry rm raw

# --- kept open for somebody else ---
try quarry create raw --size 16M --fs none
raw=$(volume_uuid raw)
try quarry mount raw
exits "what quarry mount opened is handed over" 0 client raw
sleep 1
is "and stays open" "$(devices "$raw") $(test -b /dev/quarry/default/raw && echo linked)" "1 linked"
try quarry umount raw
is "until it is unmounted" "$(devices "$raw")" 0
try quarry mount raw
hold raw
exits "unmounted while somebody was handed it" 0 quarry umount raw
end $holder
ok "it is closed behind them" wait_for 5 gone "$raw"
hold raw
is "who was handed it has no link" "$(test -e /dev/quarry/default/raw && echo linked)" ""
try quarry rename raw rare
is "nor by another name" "$(test -e /dev/quarry/default/rare && echo linked)" ""
exits "it is mounted meanwhile" 0 quarry mount rare
end $holder
sleep 1
is "then it stays" "$(devices "$raw") $(test -b /dev/quarry/default/rare && echo linked)" "1 linked"
try quarry umount rare
try quarry rm rare

# --- a directory ---
mkdir -p /srv/a /srv/b
exits "a directory is made and handed over" 0 client db createSizeBytes=67108864 'template="ext4-encrypted"' --attach /srv/a
is "with ids as the host has them" "$out" "dir rw 0 0"
db=$(volume_uuid db)
is "it is empty, and root's" "$(ls -A /srv/a; stat -c %u:%g:%a /srv/a)" 0:0:755
is "nosuid and nodev" "$(findmnt -no VFS-OPTIONS /srv/a)" rw,nosuid,nodev,relatime
echo kept >/srv/a/file
exits "the same is mounted by quarry" 0 quarry mount db
is "with the same in it" "$(cat /run/quarry/mnt/default/db/file)" kept
exits "once more, read-only" 0 client db readOnly=true --attach /srv/b
is "as it says" "$out $(findmnt -no VFS-OPTIONS /srv/b)" "dir ro 0 0 ro,nosuid,nodev,relatime"
fails "no device to write to is handed over meanwhile" 'System 16 .*uses the filesystem.*/srv/a' db 'requestAs="blk"'
exits "one to read is" 0 client db 'requestAs="blk"' readOnly=true
is "and is read-only" "$out" "blk ro"
try quarry umount db
fails "nor while it is only mounted elsewhere" 'System 16 ' db 'requestAs="blk"'
umount /srv/a
umount /srv/b
ok "behind the last mount it is closed" wait_for 20 gone "$db"
fails "it is no file" 'StorageProvider.TypeNotSupported' db 'requestAs="reg"'

# --- the device below a filesystem ---
hold db 'requestAs="blk"'
is "its device is handed over" "$(cat /tmp/answer) $(devices "$db")" "blk rw 2"
refused "quarry mounts nothing that a machine may have mounted" 4 'somebody has the device.*sleep' quarry mount db
fails "nor hands over its directory" 'System 16 ' db
refused "nor trims it" 4 'somebody has the device' quarry trim db
refused "nor gives it an owner" 4 'somebody has the device' quarry update db --mode 700
refused "nor lets it grow" 4 'somebody has the device' quarry resize db 96M
is "which it did not" "$(blockdev --getsize64 "/dev/mapper/quarry-$db-crypt")" 67108864
refused "nor removes it" 4 'in use.*sleep' quarry rm db
exits "a snapshot is made" 0 quarry snapshot db@s
end $holder
ok "behind its last user it is closed" wait_for 5 gone "$db"
exits "then it is mounted" 0 quarry mount db
is "whole" "$(cat /run/quarry/mnt/default/db/file)" kept
try quarry umount db
exits "a client mounts the device itself" 0 client db 'requestAs="blk"' -- mount -t ext4 /proc/self/fd/9 /srv/a
is "and sees all of its filesystem" "$(cd /srv/a && echo *) $(cat /srv/a/data/file)" "data lost+found kept"
exits "and another the same" 0 client db 'requestAs="blk"' -- mount -t ext4 /proc/self/fd/9 /srv/b
umount /srv/a
is "which outlives the first" "$(cat /srv/b/data/file)" kept
exits "quarry shares it with them" 0 quarry mount db
fails "and then nobody else is handed it" 'System 16 ' db 'requestAs="blk"'
try quarry umount db
refused "it is not removed" 4 'mounted at /srv/b' quarry rm --snapshots db
umount /srv/b
exits "until the last is unmounted, and then at once" 0 quarry rm --snapshots db
ok "nothing is open" gone "$db"

# --- whose ---
exits "a member makes a device of her tenant's" 0 as alice "$here/storage-client" disk 'requestAs="blk"' createSizeBytes=16777216 -- sh -c 'echo "alice was here" >&9'
is "for its members" "$(json '.volumes[].tenant' quarry ls)" acme
exits "who find it by that name" 0 as alice "$here/storage-client" acme/disk -- sh -c 'head -c 14 <&9'
like "with what is in it" "$out" 'alice was here'
exits "to others it does not exist" 1 as bob "$here/storage-client" acme/disk 'createMode="open"'
is "just as one that does not" "$err" StorageProvider.NoSuchVolume
exits "nor can they make it" 1 as bob "$here/storage-client" acme/disk createSizeBytes=16777216
is "of others" "$err" org.varlink.service.PermissionDenied
try as alice quarry create fs --size 16M
exits "the device of a filesystem is root's" 1 as alice "$here/storage-client" fs 'requestAs="blk"'
is "its bytes are read with every right" "$err" org.varlink.service.PermissionDenied
exits "its directory is hers" 0 as alice "$here/storage-client" fs
like "with her ids" "$out" 'dir rw 0 0'
try quarry mount acme/fs
mknod -m 0666 /run/quarry/mnt/acme/fs/disk b "$((0x$(stat -c %t /dev/sda)))" "$((0x$(stat -c %T /dev/sda)))"
try quarry umount acme/fs
for how in "$here/storage-client fs --attach /srv/a" 'quarry mount fs /srv/a --userns $$' 'quarry mount fs /srv/a'; do
    exits "in namespaces of her own she is root ($(basename "${how%% *}"))" 0 "$here/rootless" alice bash -c "$how >/dev/null &&
        ! mount -o remount,bind,dev,suid /srv/a 2>/dev/null && findmnt -no VFS-OPTIONS /srv/a && test -b /srv/a/disk && ! head -c 1 /srv/a/disk"
    is "and has no device nodes there all the same" "${out%,idmapped}" rw,nosuid,nodev,relatime
done
most=$(</proc/sys/user/max_user_namespaces)
echo 0 >/proc/sys/user/max_user_namespaces
exits "where nobody has such namespaces she has it, too" 0 as alice "$here/storage-client" fs -- test -b /proc/self/fd/9/disk
echo "$most" >/proc/sys/user/max_user_namespaces
try quarry rm acme/disk acme/fs
ok "nothing is left open" wait_for 30 sh -c '! dmsetup ls | grep -q "^quarry-.*-crypt"'

# --- two with keys that only one knows ---
echo sesame >/tmp/key
try quarry create vault --size 64M --fs none --key passphrase --key-file /tmp/key
fails "a passphrase is not asked for" 'System 126 ' vault
exits "who gave it ahead" 0 quarry key unlock vault --key-file /tmp/key
exits "is handed the device" 0 client vault
try quarry key lock vault
fails "but not of one that is locked" 'System 126 .*locked' vault
try quarry rm vault

finish
