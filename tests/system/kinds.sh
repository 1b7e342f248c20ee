#!/bin/bash
# Volumes that are not in the pool: a directory of the host, and memory.
# machine: --disk 2G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

for user in alice bob; do useradd --no-create-home "$user"; done
as() { setpriv --reuid="$1" --regid="$1" --init-groups -- "${@:2}"; }
M=/run/quarry/mnt
mkdir -p /srv/roots && mount -t tmpfs -o mode=755 roots /srv/roots
mkdir -p /srv/roots/data /srv/roots/alice /srv/roots/closed/alice /srv/elsewhere
echo kept >/srv/roots/data/file
chown alice:alice /srv/roots/alice /srv/roots/closed/alice
chmod 700 /srv/roots/alice /srv/roots/closed
try quarry pool create default /dev/vda
try quarry tenant create acme --user alice --max-tmpfs 100M --max-volumes 9
try quarry tenant create beta --user bob

# --- what a source can be ---
refused "without AllowedRoots= no directory" 6 'no AllowedRoots= are set' quarry create d --kind bind --source /srv/roots/data
like "and is told where to write them" "$err" 'quarry.conf.d/bind.conf.*systemctl restart quarryd'
mkdir -p /etc/quarry/quarry.conf.d
printf '[Bind]\nAllowedRoots=/srv/roots\n' >/etc/quarry/quarry.conf.d/bind.conf
try systemctl restart quarryd
touch /srv/roots/plain
ln -s data /srv/roots/link
ln -s /srv/elsewhere /srv/roots/out
mkdir -p /srv/roots/mounted && mount -t tmpfs inner /srv/roots/mounted
refused "elsewhere" 6 'lies below none of AllowedRoots=' quarry create d --kind bind --source /srv/elsewhere
refused "what only begins like one" 6 'lies below none' quarry create d --kind bind --source /srv/rootsX
refused "by way of .." 2 'no absolute path' quarry create d --kind bind --source /srv/roots/../elsewhere
refused "a relative one" 2 'no absolute path' quarry create d --kind bind --source data
refused "/" 2 'all of the host' quarry create d --kind bind --source /
refused "a file" 2 'no directory' quarry create d --kind bind --source /srv/roots/plain
refused "a symbolic link" 2 'symbolic link' quarry create d --kind bind --source /srv/roots/link
refused "one on the way" 2 'symbolic link' quarry create d --kind bind --source /srv/roots/out/x
refused "what is not there" 2 'does not exist' quarry create d --kind bind --source /srv/roots/gone
refused "a mount point" 2 'is a mount point' quarry create d --kind bind --source /srv/roots/mounted
refused "none at all" 2 'needs its source' quarry create d --kind bind
refused "one for a block volume" 2 'for bind volumes' quarry create d --size 16M --source /srv/roots/data
refused "encryption" 2 'cannot be encrypted' quarry create d --kind bind --source /srv/roots/data --encrypt
refused "a filesystem" 2 'no filesystem of its own choice' quarry create d --kind bind --source /srv/roots/data --fs xfs
refused "an owner" 2 'keeps its owner' quarry create d --kind bind --source /srv/roots/data --uid 5
is "nothing came of all that" "$(quarry ls --no-legend)" ""

# --- a bind volume ---
exits "a directory becomes a volume" 0 quarry create d --kind bind --source /srv/roots/data --label a=b
refused "another one of that name" 7 'different source' quarry create d --kind bind --source /srv/roots/alice --if-absent
exits "the same is there" 0 quarry create d --kind bind --source /srv/roots/data --label a=b --if-absent
is "it is told what it is" "$(json '.volumes[0] | [.kind, .source, .readOnly, .sizeBytes, .filesystem, .mode] | tostring' quarry inspect d)" '["bind","/srv/roots/data",false,null,null,null]'
is "it takes nothing of the pool" "$(json '.pools[0].provisionedBytes' quarry pool inspect default) $(thin_ids | wc -l)" "0 0"
exits "mounted" 0 quarry mount d
is "at its standard place" "$out" $M/default/d
is "it shows the directory" "$(cat $M/default/d/file)" kept
echo new >$M/default/d/new
is "and writes into it" "$(cat /srv/roots/data/new)" new
like "nosuid and nodev" "$(findmnt -no OPTIONS $M/default/d)" 'nosuid,nodev'
exits "again: the same" 0 quarry mount d
is "once" "$(volume_mounts)" 1
is "ls tells where, and its kind" "$(quarry ls --no-legend -o name,kind,fs,mounted | xargs)" "d bind bind $M/default/d"
is "and filters by it" "$(quarry ls --no-legend -o name --filter kind=bind | xargs),$(quarry ls --no-legend -o name --filter kind=tmpfs)" "d,"
refused "in use it is not removed" 4 "mounted at $M/default/d" quarry rm -y d
try quarry create nested --kind bind --source /srv/roots/alice
refused "another volume is no source" 6 'lies below none' quarry create e --kind bind --source $M/default/d
for verb in "snapshot d" "trim d" "resize d +10M" "diff d nested" "update d --snapshot-schedule 'daily keep 2'" "update d --mode 0700"; do
    refused "no $verb" 1 'bind volume' bash -c "quarry $verb"
done
bash -c 'cd '$M/default/d' && exec sleep 30' &
sleeper=$!
bash -c 'cd /srv/roots/data && exec sleep 30' &
other=$!
try wait_for 10 grep -q sleep /proc/$sleeper/comm
refused "who uses it there keeps it mounted, and is named" 4 "sleep \(pid $sleeper" quarry umount d
is "and nobody else" "$err" "${err//pid $other/}"
end $sleeper
end $other
try systemctl restart quarryd
is "a restart finds it mounted" "$(json '.volumes[0].mountPoint' quarry inspect d)" $M/default/d
exits "renamed while it is mounted" 0 quarry rename d e
is "it is at its new place" "$(cat $M/default/e/file; ls $M/default)" "kept
e"
mkdir /srv/target
exits "mounted elsewhere too" 0 quarry mount e /srv/target
is "that is seen" "$(json '.volumes[0].holds | map(.path) | sort | tostring' quarry inspect e)" "[\"$M/default/e\",\"/srv/target\"]"
exits "unmounted" 0 quarry umount e
ok "nobody can write into its place" bash -c "! touch $M/default/e/x 2>/dev/null"
refused "still in use there" 4 'mounted at /srv/target' quarry rm -y e
exits "unmounted there" 0 quarry umount /srv/target
bash -c 'cd /srv/roots/data && exec sleep 30' &
sleeper=$!
try quarry mount e
mv /srv/roots/data /srv/roots/moved
mkdir /srv/roots/data
exits "its source was moved: unmounted all the same" 0 quarry umount e
end $sleeper
refused "another directory in its place is not mounted" 1 'not the directory that volume e was made with' quarry mount e
rmdir /srv/roots/data
refused "nor is none" 1 'does not exist' quarry mount e
ln -s moved /srv/roots/data
refused "nor a link to the one" 1 'symbolic link' quarry mount e
rm /srv/roots/data
mv /srv/roots/moved /srv/roots/data
exits "the one that it was made with is" 0 quarry mount e
try quarry update e --protect
refused "protected" 4 'protected' quarry rm -y --lazy e
try quarry update e --no-protect
exits "removed lazily while it is mounted" 0 quarry rm -y --lazy e
is "its files stay" "$(cat /srv/roots/data/file)" kept
ok "its place does not" test ! -e $M/default/e
exits "a read-only one" 0 quarry create r --kind bind --source /srv/roots/data --read-only
try quarry mount r
ok "cannot be written" bash -c "! touch $M/default/r/x 2>/dev/null"
exits "removed" 0 bash -c 'quarry umount r && quarry rm -y r nested'

# --- with a limit of its own ---
refused "where no filesystem keeps one" 1 'keeps no limit on a directory' quarry create l --kind bind --source /srv/roots/data --size 20M
is "nothing of it stays" "$(quarry ls --no-legend)" ""
truncate -s 96M /srv/roots/ext4.img
truncate -s 320M /srv/roots/xfs.img
try mkfs.ext4 -q -O project,quota /srv/roots/ext4.img
try mkfs.xfs -q /srv/roots/xfs.img
for fs in ext4 xfs; do
    mkdir /srv/roots/$fs
    try mount -o loop,prjquota /srv/roots/$fs.img /srv/roots/$fs
    S=/srv/roots/$fs/data
    mkdir -p $S/below && head -c 5M /dev/zero >$S/below/five
    chown -R alice: $S
    refused "$fs: less than it holds" 5 'holds 5M already' quarry create l --kind bind --source $S --size 4M
    is "$fs: then nothing is limited" "$(lsattr -pd $S | awk '{ print $1 }')" 0
    exits "$fs: a limited one" 0 quarry create l --kind bind --source $S --size 20M
    try quarry mount l
    ok "$fs: it can be filled" as alice sh -c "head -c 10M /dev/zero >$M/default/l/ten"
    not_ok "$fs: to its limit" as alice sh -c "head -c 10M /dev/zero >$M/default/l/more"
    ok "$fs: what it takes is told" test "$(json '.volumes[0].usedBytes' quarry inspect l)" -ge $((15 << 20))
    try quarry umount l
    exits "$fs: removed" 0 quarry rm -y l
    is "$fs: its files stay, without a limit" "$(lsattr -pR $S | awk '$1 > 0' | wc -l),$(cd $S && echo *)" "0,below more ten"
    umount /srv/roots/$fs
done

# --- a member's ---
refused "a member does not get root's" 6 'could not reach' as alice quarry create d --kind bind --source /srv/roots/data
refused "nor what is closed off" 6 'could not reach' as alice quarry create d --kind bind --source /srv/roots/closed/alice
mkdir /srv/roots/closed/mounted && mount -t tmpfs inner /srv/roots/closed/mounted
touch /srv/roots/closed/plain
ln -s alice /srv/roots/closed/link
for there in none plain link mounted alice/none; do
    refused "nor is she told what is in there: $there" 6 'could not reach' as alice quarry create d --kind bind --source /srv/roots/closed/$there
done
refused "what she sees she is told" 2 'does not exist' as alice quarry create d --kind bind --source /srv/roots/alice/none
refused "nor another member's" 6 'could not reach' as bob quarry create d --kind bind --source /srv/roots/alice
refused "nor does the tenant by root" 6 'could not reach' quarry create beta/d --kind bind --source /srv/roots/alice
exits "but what to read only" 0 as bob quarry create d --kind bind --source /srv/roots/data --read-only
exits "and the own" 0 as alice quarry create d --kind bind --source /srv/roots/alice
exits "mounts it" 0 as alice quarry mount d
ok "writes into it" as alice touch $M/acme/d/hers
is "it is there" "$(ls /srv/roots/alice)" hers
try as alice quarry umount d
chown root: /srv/roots/alice
refused "what is hers no longer is not mounted" 6 'could not reach' as alice quarry mount d
refused "for her, by nobody" 6 'could not reach' quarry mount acme/d
try as alice quarry rm -y d
is "its file stays" "$(ls /srv/roots/alice)" hers

# --- a tmpfs volume ---
refused "without a size" 2 'size' quarry create t --kind tmpfs
refused "with a source" 2 'source' quarry create t --kind tmpfs --size 16M --source /srv/roots/data
refused "read-only" 2 'would stay empty' quarry create t --kind tmpfs --size 16M --read-only
refused "inodes of a block volume" 2 'tmpfs has' quarry create t --size 16M --inodes 100
refused "one inode" 2 'too few' quarry create t --kind tmpfs --size 16M --inodes 1
exits "memory becomes a volume" 0 quarry create t --kind tmpfs --size 16M --inodes 100 --noswap --uid 7 --gid 8 --mode 1777
is "it takes nothing of the pool" "$(json '.pools[0].provisionedBytes' quarry pool inspect default)" 0
is "and no memory" "$(grep -c ' quarry-' /proc/self/mountinfo)" 0
exits "mounted" 0 quarry mount t
is "as asked for" "$(stat -c '%u %g %a' $M/default/t) $(df --output=size,itotal -B1 $M/default/t | tail -1 | xargs)" "7 8 1777 16777216 100"
like "and kept out of swap" "$(findmnt -no OPTIONS $M/default/t)" 'nosuid,nodev.*noswap'
echo here >$M/default/t/file
exits "mounted elsewhere too" 0 quarry mount t /srv/target
is "it is the same" "$(cat /srv/target/file)" here
try quarry umount t
is "which stays as long as that" "$(json '.volumes[0].holds[0].path' quarry inspect t)" /srv/target
refused "and is in use" 4 'mounted at /srv/target' quarry rm -y t
try quarry mount t
is "it comes back to its place" "$(cat $M/default/t/file)" here
try systemctl restart quarryd
is "a restart finds it" "$(json '.volumes[0] | [.mountPoint, (.holds | length)] | tostring' quarry inspect t)" "[\"$M/default/t\",2]"
is "and its file" "$(cat $M/default/t/file)" here
dd if=/dev/zero of=$M/default/t/big bs=1M count=8 status=none
ok "what it takes is told" test "$(json '.volumes[0].usedBytes' quarry inspect t)" -ge $((8 << 20))
exits "it grows while it is used" 0 quarry resize t 32M
is "to that" "$(df --output=size -B1 $M/default/t | tail -1 | xargs) $(json '.volumes[0].sizeBytes' quarry inspect t)" "33554432 33554432"
refused "it does not shrink below what it holds" 5 'holds more' quarry resize t 4M
exits "but to that" 0 quarry resize t 16M
exits "another owner" 0 quarry update t --uid 9 --mode 0750
is "at once" "$(stat -c '%u %a' $M/default/t)" "9 750"
exits "renamed while it is mounted" 0 quarry rename t u
is "its files go along" "$(cat $M/default/u/file)" here
(cd $M/default/u && exec sleep 60) &
sleeper=$!
refused "in use by a process" 4 "sleep \(pid $sleeper" quarry umount u
end $sleeper
try quarry umount u
try quarry umount /srv/target
try quarry mount u
is "behind its last mount it is empty" "$(ls $M/default/u)" ""
is "and as it is to be" "$(stat -c '%u %g %a' $M/default/u)" "9 8 750"
for verb in "snapshot u" "trim u"; do
    refused "no $verb" 1 'tmpfs volume' bash -c "quarry $verb"
done
exits "read-only" 0 bash -c 'quarry umount u && quarry mount -o ro u'
ok "nothing is written" bash -c "! touch $M/default/u/x 2>/dev/null"
is "doctor finds nothing wrong with all that" "$(quarry doctor 2>&1 | grep -c "$M")" 0
try quarry umount u
is "prune removes it" "$(quarry prune --filter kind=tmpfs --json | jq -c .removed)" '["u"]'

# --- counted ---
exits "a member's" 0 as alice quarry create t --kind tmpfs --size 60M
refused "too much memory" 5 'may have 100M in tmpfs volumes, has 60M' as alice quarry create t2 --kind tmpfs --size 60M
refused "also by growth" 5 'may have 100M in tmpfs' as alice quarry resize t +60M
is "what it has is told" "$(json '.tenants[0] | [.tmpfsBytes, .maxTmpfsBytes, .sizeBytes, .volumes] | tostring' quarry tenant inspect acme)" "[$((60 << 20)),$((100 << 20)),0,1]"
exits "mounts it" 0 as alice quarry mount t
ok "and writes" as alice touch $M/acme/t/x
refused "others do not see it" 3 'there is no volume' as bob quarry inspect acme/t
exits "removed lazily" 0 as alice quarry rm -y --lazy t
is "it counts no longer" "$(json '.tenants[0].tmpfsBytes' quarry tenant inspect acme)" 0
exits "a pool with such a volume mounted is not exported" 0 bash -c 'quarry create t --kind tmpfs --size 16M && quarry mount t'
refused "it is in use" 4 "mounted at $M/default/t" quarry pool export default
try quarry umount t

finish
