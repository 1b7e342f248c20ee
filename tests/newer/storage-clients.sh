#!/bin/bash
# systemd's own clients of io.systemd.StorageProvider, on a kernel that they can mount directories with.
# shellcheck source=../system/common disable=SC2016,SC2154
. "$(dirname "$0")/../system/common"

echo "# $(systemctl --version | head -n 1), Linux $(uname -r)"
devices() { dmsetup ls | cut -f1 | grep -cE "^quarry-$1(-crypt)?$"; }
gone() { [ "$(devices "$1")" = 0 ]; }
new() { mount -t storage -o "storage.create=new,storage.create-size=64M${2+,$2}" "quarry:$1" /srv/a; }
useradd --no-create-home alice
mkdir -p /srv/a /srv/b /srv/host
try quarry pool create default /dev/vda
try quarry tenant create acme --user alice

# --- looking ---
exits "providers" 0 storagectl providers --json=short
like "have quarry among them, which listens" "$out" '"provider":"quarry","listening":"yes"'
exits "once more" 0 storagectl providers --no-legend
exits "templates" 0 storagectl templates 'xfs*' --json=short
is "are as they are documented" "$(jq -c 'map([.provider, .name, .type])' <<<"$out")" '[["quarry","xfs","dir"],["quarry","xfs-encrypted","dir"]]'
exits "volumes" 0 storagectl volumes 'd?'
is "are none" "$out" "No storage volumes."

# --- a directory ---
refused "without a size none is made" 1 'requires a create size' mount -t storage quarry:db /srv/a
refused "nor by a template that there is not" 1 'Template .zfs. not known' new db storage.template=zfs
refused "nor by one for devices" 1 'does not apply' new db storage.template=raw
refused "nor when it is to be there" 1 'not known' mount -t storage -o storage.create=open quarry:db /srv/a
refused "nor when it is only to be read" 1 'not known' mount -t storage -o ro,storage.create-size=64M quarry:db /srv/a
exits "a directory is made and mounted" 0 new db storage.template=ext4-encrypted
db=$(volume_uuid db)
is "it is empty, and root's" "$(ls -A /srv/a; stat -c %u:%g:%a /srv/a)" 0:0:755
echo kept >/srv/a/file
chown 1000:1001 /srv/a/file
is "listed" "$(storagectl volumes 'd?' --json=short | jq -c 'map([.name, .type, .ro, .size])')" '[["db","dir",false,67108864]]'
exits "quarry mounts the same" 0 quarry mount db
is "with the same owners" "$(cat "$out/file") $(stat -c %u:%g "$out/file")" "kept 1000:1001"
refused "it is not made twice" 1 'exists already' mount -t storage -o storage.create=new,storage.create-size=64M quarry:db /srv/b
exits "mounted once more, to be read" 0 mount -t storage -o ro quarry:db /srv/b
not_ok "it is not written there" touch /srv/b/file
is "but read" "$(cat /srv/b/file)" kept
refused "its device is not given away to be written to" 1 'does not support.*reg' mount -t storage.ext4 quarry:db /srv/host
try quarry umount db
umount /srv/a
is "the second mount outlives the first" "$(cat /srv/b/file)" kept
refused "it is not removed" 4 'mounted at /srv/b' quarry rm db
umount /srv/b
exits "behind the last it is removed at once" 0 quarry rm db
ok "nothing is open" gone "$db"
exits "made again, with XFS" 0 new db storage.template=xfs-encrypted,storage.create-size=300M
umount /srv/a
db=$(volume_uuid db)
ok "closed without anybody saying so" wait_for 20 gone "$db"
try quarry rm db

# --- other ids, and volumes that are not in the pool ---
try quarry create foreign --size 64M --uid 2147352576 --gid 2147352576
exits "what is stored with systemd's ids for others" 0 mount -t storage quarry:foreign /srv/a
is "is shown with the host's" "$(stat -c %u:%g /srv/a)" 0:0
touch /srv/a/file
umount /srv/a
is "and stored with theirs" "$(stat -c %u:%g "$(quarry mount foreign)/file")" 2147352576:2147352576
try quarry umount foreign
try quarry create memory --kind tmpfs --size 16M
exits "memory is a directory, too" 0 mount -t storage quarry:memory /srv/a
is "with its size" "$(findmnt -bno SIZE /srv/a)" 16777216
umount /srv/a
try quarry snapshot foreign@s
refused "a snapshot is not written to" 1 'is read-only' mount -t storage -o rw quarry:foreign@s /srv/a
exits "but mounted" 0 mount -t storage -o ro quarry:foreign@s /srv/a
ok "with what was in it" test -e /srv/a/file
umount /srv/a

# --- a device ---
exits "a device with a filesystem is made and mounted" 0 mount -t storage.ext4 -o storage.create-size=64M,storage.template=ext4-encrypted quarry:cache /srv/a
cache=$(volume_uuid cache)
is "whole" "$(cd /srv/a && echo *)" "data lost+found"
exits "and once more" 0 mount -t storage.ext4 quarry:cache /srv/b
umount /srv/a
touch /srv/b/data/file
refused "it is not removed" 4 'mounted at /srv/b' quarry rm cache
umount /srv/b
ok "behind the last mount it is closed" wait_for 5 gone "$cache"
exits "read-only" 0 mount -t storage.ext4 -o ro quarry:cache /srv/a
not_ok "nobody writes there" touch /srv/a/data/other
umount /srv/a
exits "and removed at once" 0 quarry rm cache
try quarry create raw --size 16M --fs none
refused "what has no filesystem is no directory" 1 'not of type' mount -t storage quarry:raw /srv/a

# --- at boot, and of others ---
echo 'quarry:acme/shop /srv/b storage storage.create-size=64M,noauto 0 0' >>/etc/fstab
exits "a line of fstab" 0 mount /srv/b
is "makes it the tenant's" "$(json '.volumes[] | select(.name == "shop") | .tenant' quarry ls)" acme
is "whose members see it, and no other" "$(setpriv --reuid=alice --regid=alice --init-groups storagectl volumes --json=short | jq -c 'map(select(.provider == "quarry").name)')" '["acme/shop"]'
umount /srv/b

finish
