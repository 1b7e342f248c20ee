#!/bin/bash
# The life of plain volumes: create, look, mount, use, refuse what would hurt, remove without a trace.
# machine: --disk 3G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
root=/run/quarry/mnt/default

# --- ext4, with everything that can be asked for ---
refused "no volume yet" 3 '' quarry exists db
exits "create" 0 quarry create db --size 512M --label tier=1 --label app=db --uid 1000 --gid 1001 --mode 0750 --mkfs-option "-m 1"
is "prints the name" "$out" db
ok "exists" quarry exists db
exits "mount" 0 quarry mount db
is "prints the mount point" "$out" $root/db
is "of the filesystem asked for, nosuid and nodev" "$(findmnt -no FSTYPE,OPTIONS $root/db | grep -o '^ext4\|nosuid\|nodev' | xargs)" "ext4 nosuid nodev"
is "owner, group and mode are as asked" "$(stat -c '%u %g %a' $root/db)" "1000 1001 750"
is "it is empty, without lost+found" "$(ls -A $root/db)" ""
source=$(findmnt -no SOURCE $root/db | sed 's/\[.*//')
is "mkfs had its option: 1 % is reserved" "$(dumpe2fs -h "$source" 2>/dev/null | awk -F: '/^Reserved block count/ { r = $2 } /^Block count/ { b = $2 } END { print int(r * 100 / b + 0.5) }')" 1
features() { dumpe2fs -h "$(findmnt -no SOURCE "$root/$1" | sed 's/\[.*//')" 2>/dev/null | grep -Ewo '(orphan_file|metadata_csum|RAID stride: +[0-9]+)' | xargs; }
is "no block is read at each mount that need not be" "$(features db)" "metadata_csum RAID stride: 16"
try quarry create own --size 64M --mkfs-option "-O orphan_file,^metadata_csum" --mkfs-option "-E stride=32"
try quarry mount own
is "but for who asks for it: options are added to what is the default" "$(features own)" "orphan_file RAID stride: 32"
try quarry umount own
try quarry rm own
is "it has the size asked for" "$(blockdev --getsize64 "$source")" $((512 << 20))
exits "mounting again" 0 quarry mount db
is "gives the same place" "$out" $root/db
is "and mounts nothing twice" "$(volume_mounts)" 1
echo hello >$root/db/file
uuid=$(volume_uuid db)
is "it is thin device 0 of the pool in the kernel" "$(dmsetup table "quarry-$uuid" | cut -d' ' -f1-3,5)" "0 1048576 thin 0"

# --- what is shown of it ---
inspect=$(quarry inspect db --json | jq '.volumes[0]')
is "inspect --json" "$(jq -c '[.name, .tenant, .pool, .state, .sizeBytes, .filesystem, .encryption, .labels, .uid, .gid, .mode, .mkfsOptions, .open, .mountPoint, .holds]' <<<"$inspect")" \
    '["db","default","default","ready",536870912,"ext4",null,{"app":"db","tier":"1"},1000,1001,488,["-m 1"],true,"'$root/db'",[{"path":"'$root/db'","readOnly":false}]]'
like "when it was made" "$(jq -r .createdAt <<<"$inspect")" '^20[0-9-]+T[0-9:]+Z$'
like "its UUID" "$uuid" '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'
ok "used space: more than nothing, less than all" jq -e '.usedBytes > 100000 and .usedBytes < 300000000' <<<"$inspect"
exits "inspect by UUID" 0 quarry inspect "$uuid"
for text in 'Name: +db' 'State: +ready' 'Size: +512M' 'Used: +[0-9.]+[KM]' 'Filesystem: +ext4' 'Encryption: +none' "Mounted at: +$root/db" \
    'app=db' 'tier=1' 'Created: +20' "UUID: +$uuid" 'uid 1000, gid 1001, mode 0750' 'Mkfs options: +-m 1'; do
    like "inspect shows $text" "$out" "$text"
done
like "ls shows it" "$(quarry ls)" "db +512M +[0-9.]+[KM] +ext4 +- +ready +$root/db"

# --- elsewhere, read-only, not at all ---
mkdir -p /srv/db
exits "mount at a place of the caller's" 0 quarry mount db /srv/db
is "prints it" "$out" /srv/db
exits "once more" 0 quarry mount db /srv/db
is "which does not stack" "$(grep -c ' /srv/db ' /proc/self/mountinfo)" 1
refused "nor read-only over it" 4 'mounted at /srv/db already, with options rw, not ro' quarry mount db /srv/db -o ro
is "shows the same files" "$(cat /srv/db/file)" hello
is "is nosuid and nodev too" "$(findmnt -no OPTIONS /srv/db | grep -o 'nosuid\|nodev' | xargs)" "nosuid nodev"
is "inspect names both mounts" "$(json '.volumes[0].holds[].path' quarry inspect db | sort | xargs)" "$root/db /srv/db"
exits "umount of the standard place" 0 quarry umount db
is "leaves the other" "$(findmnt -rno TARGET -t ext4 | grep -c /srv/db)" 1
refused "umount by name says where else it is" 4 'mounted at /srv/db' quarry umount db
exits "umount by path" 0 quarry umount /srv/db
ok "closes the volume" wait_for 20 eval '! dmsetup info quarry-'"$uuid"
is "the mount point is empty" "$(ls -A $root/db)" ""
not_ok "and not even root can write there" touch $root/db/lost
not_ok "nor make a directory" mkdir $root/db/lost
exits "mount -o ro" 0 quarry mount -o ro db
is "reads" "$(cat $root/db/file)" hello
not_ok "does not write" touch $root/db/file
refused "mounting it for writing meanwhile" 4 'with options ro, not rw' quarry mount db
is "inspect shows read-only" "$(json '.volumes[0].holds[0].readOnly' quarry inspect db)" true
try quarry umount db
refused "a target that is not there" 2 '/srv/nope does not exist' quarry mount db /srv/nope
refused "a target that is a file" 2 'is not a directory' quarry mount db /etc/hosts
is "nothing was opened for that" "$(volume_devices)" ""
exits "umount of what is not mounted" 0 quarry umount db
ok "a unit mounts it" systemctl start quarry-mount@db.service
ok "it is mounted" mountpoint -q /run/quarry/mnt/default/db
ok "and is unmounted with it" systemctl stop quarry-mount@db.service
not_ok "it is not mounted" mountpoint -q /run/quarry/mnt/default/db

# --- the other kinds ---
try quarry create x --size 300M --fs xfs --mode 1777 --uid 5
try quarry mount x
is "XFS" "$(findmnt -no FSTYPE $root/x) $(stat -c '%u %a' $root/x)" "xfs 5 1777"
is "is empty" "$(ls -A $root/x)" ""
echo xfs >$root/x/file
try quarry create raw --size 64M --fs none
exits "a volume without filesystem is opened" 0 quarry mount raw
is "its device is printed" "$out" /dev/quarry/default/raw
is "it has its size" "$(blockdev --getsize64 "$out")" $((64 << 20))
echo raw bytes | dd of="$out" conv=fsync status=none
refused "it is mounted, also while nobody has it open" 4 'raw is mounted, as /dev/quarry/default/raw.*try: quarry umount raw' quarry rm --yes raw
try quarry umount raw
ok "its link goes with it" wait_for 5 test ! -e /dev/quarry/default/raw
is "its bytes stay" "$(head -c 9 "$(quarry mount raw)")" "raw bytes"
try quarry tenant create web
try quarry create web/site --pool default --size 16M
is "another tenant's volume lies apart" "$(quarry mount web/site)" /run/quarry/mnt/web/site
is "ls shows all" "$(quarry ls --no-legend -o name | sort | xargs)" "db raw web/site x"
try quarry umount web/site
try quarry rm web/site

# --- creating what exists ---
again="quarry create db --size 512M --label app=db --label tier=1 --uid 1000 --gid 1001 --mode 0750 --mkfs-option '-m 1'"
refused "the same again" 7 'exists already, with these options' eval "$again"
like "names --if-absent" "$err" 'if-absent'
exits "the same again with --if-absent" 0 eval "$again --if-absent"
is "tells that it was there" "$(json .existed eval "$again --if-absent")" true
refused "another size" 7 'size: 512M, asked for 1G' quarry create db --if-absent --size 1G
refused "another filesystem" 7 'filesystem: ext4, asked for xfs' quarry create db --if-absent --size 512M --fs xfs
refused "another mode" 7 'mode: 0750, asked for 0755' quarry create db --if-absent --size 512M --uid 1000 --gid 1001
refused "other labels" 7 'labels: .*app=db.*tier=1.*asked for none' eval "${again//--label*tier=1/} --if-absent"
refused "encrypted" 7 'key source: none, asked for host' quarry create db --if-absent --size 512M --encrypt
is "is as it was" "$(cat "$(quarry mount db)/file")" hello

# --- in use ---
refused "a mounted volume is not removed" 4 "in use: mounted at $root/db" quarry rm db
like "and what to run is said" "$err" 'quarry umount db'
not_ok "private copies of that mount are not blamed" grep -q 'namespace' <<<"$err"
(cd $root/db && exec sleep 1000) &
holder=$!
wait_for 5 eval "[ \"\$(readlink /proc/$holder/cwd)\" = $root/db ]"
refused "umount while a process is in it names the process" 4 "sleep \(pid $holder" quarry umount db
refused "so does rm" 4 "mounted at $root/db.*sleep \(pid $holder" quarry rm db
is "it is still mounted" "$(cat $root/db/file)" hello
end $holder

rm -f /tmp/mounted
unshare --mount --propagation private sh -c 'touch /tmp/mounted; exec sleep 1000' &
holder=$!
wait_for 5 test -e /tmp/mounted
exits "umount while another mount namespace has it" 0 quarry umount db
refused "rm then names who has it" 4 "mounted at $root/db in the mount namespace mnt:\[[0-9]+\] of sleep \(pid $holder" quarry rm db
ok "nothing happened to it" quarry exists db
end $holder

sleep 1000 3</dev/quarry/default/raw &
holder=$!
refused "an open device is named with the process" 4 "sleep \(pid $holder" quarry rm raw
id=$(sha256sum </etc/hostname | cut -d' ' -f1)
mkdir "/sys/fs/cgroup/docker-$id.scope"
echo $holder >"/sys/fs/cgroup/docker-$id.scope/cgroup.procs"
refused "and with its container" 4 "sleep \(pid $holder, container ${id:0:12}\)" quarry rm raw
end $holder
rmdir "/sys/fs/cgroup/docker-$id.scope"
try quarry umount raw

# --- removal ---
exits "rm --dry-run" 0 quarry rm --dry-run db
ok "removes nothing" quarry exists db
refused "rm of several, one missing: that one is reported" 3 'nope: there is no volume nope' quarry rm db nope raw
is "the others are removed" "$out" $'db\nraw'
refused "a mounted one among several" 4 'x is in use' quarry rm x
try quarry umount x
exits "rm" 0 quarry rm x
is "prints the name" "$out" x
is "ls is empty" "$(quarry ls --no-legend)" ""
is "no device of a volume is left" "$(volume_devices)" ""
is "no name in /dev/mapper" "$(find /dev/mapper -name 'quarry-[0-9a-f]*' ! -name "quarry-$(pool_uuid)")" ""
is "no link" "$(ls /dev/quarry 2>/dev/null)" ""
is "no mount" "$(volume_mounts)" 0
is "no mount point" "$(find /run/quarry/mnt -mindepth 2)" ""
ok "no thin device in the pool" no_thin_device_is_left
is "no description for udev" "$(ls /run/quarry/udev)" ""
is "no space taken" "$(json '.pools[0].dataUsedBytes' quarry pool inspect default)" 0

finish
