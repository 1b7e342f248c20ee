#!/bin/bash
# What makes creating and removing quick: templates that nobody sees, volumes that are made ahead, and space that is
# given back behind the answer.
# machine: --disk 6G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
root=/run/quarry/mnt/default

ids() { thin_ids | wc -l; }
there_are() { [ "$(ids)" = "$1" ]; }

# --- made when the same is asked for a second time ---
try quarry create a --size 1G
is "one volume, one thin device" "$(ids)" 1
try quarry create b --size 1G
ok "the second of its kind makes a template" wait_for 30 there_are 3
before=$(json '.pools[0].dataUsedBytes' quarry pool inspect default)
exits "a copy of it, with an owner of its own" 0 quarry create c --size 1G --uid 70 --gid 71 --mode 0751
took=$(($(json '.pools[0].dataUsedBytes' quarry pool inspect default) - before))
ok "which takes less than a tenth of what mkfs would write" [ $took -lt $((1 << 20)) ]
try quarry create d --size 1G
ok "of what was asked for three times one more is made ahead" wait_for 30 there_are 6
try quarry mount c
try quarry mount d
is "owner and mode are as asked" "$(stat -c '%u %g %a' $root/c)" "70 71 751"
is "and not another's" "$(stat -c '%u %g %a' $root/d)" "0 0 755"
is "both are empty" "$(find $root/c $root/d -mindepth 1)" ""
for name in c d; do
    dd if=/dev/urandom of=$root/$name/file bs=1M count=20 status=none && cp $root/$name/file /run/$name.copy
done
sync
c=/dev/mapper/quarry-$(volume_uuid c) d=/dev/mapper/quarry-$(volume_uuid d)
not_ok "their filesystems have different UUIDs" [ "$(blkid -p -s UUID -o value "$c")" = "$(blkid -p -s UUID -o value "$d")" ]
exec 8<"$c" 9<"$d"
quarry umount c d >/dev/null 2>&1
for name in c d; do
    ok "$name passes its check" e2fsck -fn "${!name}"
done
exec 8<&- 9<&-
try quarry mount c
try quarry mount d
ok "and has what was written to it" cmp $root/c/file /run/c.copy
ok "the other too" cmp $root/d/file /run/d.copy
is "nobody sees the template" "$(quarry ls --type all --no-legend -o name | xargs)" "a b c d"
is "nor is it counted" "$(json '.pools[0] | [.volumes, .provisionedBytes] | tojson' quarry pool inspect default)" "[4,4294967296]"
refused "nor found by its tenant" 2 "tenant name" quarry inspect ./ext4-1024-cbf29ce484222325

# --- made ahead ---
thin_id() { dmsetup table "quarry-$(volume_uuid "$1")" | awk '{ print $NF }'; }
taken_from() { try quarry mount "$2"; grep -qx "$(thin_id "$2")" <<<"$1"; }
before=$(thin_ids) now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
exits "the next takes it as it is" 0 quarry create e --size 1G --label x=y --protect
ok "with the device that was there" taken_from "$before" e
is "and is what was asked for" "$(json '.volumes[0] | [.labels.x, .protected, .uid] | tojson' quarry inspect e)" '["y",true,0]'
not_ok "made now" [ "$(json '.volumes[0].createdAt' quarry inspect e)" \< "$now" ]
is "empty" "$(ls -A $root/e)" ""
leads_to() { [ "$(stat -L -c %t:%T "/dev/quarry/default/$1")" = "$(stat -L -c %t:%T "/dev/mapper/quarry-$2")" ]; }
udev_says() { udevadm info -q property "/dev/mapper/quarry-$1" | grep -qx "$2"; }
ok "its link leads to it" wait_for 30 leads_to e "$(volume_uuid e)"
ok "as udev says, too" wait_for 30 udev_says "$(volume_uuid e)" SYSTEMD_ALIAS=/dev/quarry/default/e
ok "whose rules leave it alone" udev_says "$(volume_uuid e)" DM_UDEV_DISABLE_OTHER_RULES_FLAG=1
not_ok "and have nobody ask what its cookie says" udev_says "$(volume_uuid e)" "DM_COOKIE=.*"
ok "another is made" wait_for 30 there_are 7
for name in k1 k2 k3; do
    try quarry create $name --size 64M --encrypt
done
ok "also of what is encrypted with the host's key" wait_for 60 there_are 11
only_mounted_are_open() { [ "$(volume_devices | wc -l)" = 3 ]; } # c, d and e
ok "which is whole when its devices are closed" wait_for 60 only_mounted_are_open
before=$(thin_ids)
exits "and taken" 0 quarry create k4 --size 64M --encrypt
ok "as it is there" taken_from "$before" k4
ok "its link leads to what is deciphered" wait_for 30 leads_to k4 "$(volume_uuid k4)-crypt"
ok "and udev says so" wait_for 30 udev_says "$(volume_uuid k4)-crypt" SYSTEMD_ALIAS=/dev/quarry/default/k4
is "its header bears its UUID" "$(cryptsetup luksUUID "/dev/mapper/quarry-$(volume_uuid k4)")" "$(volume_uuid k4)"
ok "another is made" wait_for 60 there_are 12
try quarry umount k4
systemctl restart quarryd
is "a restart of the daemon leaves them" "$(ids)" 12
is "all are there" "$(quarry ls --no-legend -o name | xargs)" "a b c d e k1 k2 k3 k4"
exits "and open" 0 quarry mount k4
try quarry umount e k4
try quarry update e --no-protect
exits "they are removed" 0 quarry rm --yes e k1 k2 k3 k4
ok "without a trace" wait_for 30 there_are 7

# --- never shared between options ---
try quarry create m1 --size 1G --mkfs-option "-m 1"
try quarry create m2 --size 1G --mkfs-option "-m 1"
ok "another for other options" wait_for 30 there_are 10
try quarry create m3 --size 1G --mkfs-option "-m 1"
try quarry mount m3
reserved() { dumpe2fs -h "$1" 2>/dev/null | awk -F: '/^Reserved block count/ { r = $2 } /^Block count/ { b = $2 } END { print int(r * 100 / b + 0.5) }'; }
is "1 % is reserved where that was asked" "$(reserved "/dev/mapper/quarry-$(volume_uuid m3)")" 1
is "and nowhere else" "$(reserved "$d")" 0

# --- XFS ---
for name in x1 x2 x3 x4; do
    try quarry create $name --size 1G --fs xfs --uid 7
    try quarry mount $name
    sleep 1
done
is "XFS: the owner is as asked" "$(stat -c %u $root/x4)" 7
echo x3 >$root/x3/file
echo x4 >$root/x4/file
x3=/dev/mapper/quarry-$(volume_uuid x3) x4=/dev/mapper/quarry-$(volume_uuid x4)
exec 8<"$x3" 9<"$x4"
quarry umount x3 x4 >/dev/null 2>&1
ok "x3 passes its check" xfs_repair -n "$x3"
ok "x4 passes its check" xfs_repair -n "$x4"
exec 8<&- 9<&-

# --- the tools were upgraded ---
takes_one() {
    local before name
    before=$(thin_ids) name=n$(date +%s%N)
    echo "$name" >/run/made
    try quarry create "$name" --size 1G
    taken_from "$before" "$name"
}
takes_one_then() { sleep 2 && takes_one; }
for tool in /usr/sbin/mke2fs "$(readlink "/proc/$(systemctl show --value -p MainPID quarryd)/exe")"; do
    sleep 5 # what is made ahead of the next is older than the tool, too
    touch "$tool"
    not_ok "behind an upgrade of $tool nothing older is taken" takes_one
    is "what is made is whole" "$(ls -A "$root/$(</run/made)")" ""
    ok "and what is made ahead then is taken" wait_for 60 takes_one_then
done

# --- bounded ---
python3 - "$(dirname "$0")/../fake" <<'PY'
import sys
sys.path.insert(0, sys.argv[1])
import wire
for mib in range(16, 25):
    for name in (f"s{mib}-1", f"s{mib}-2"):
        wire.Call("/run/quarry/io.quarry", "io.quarry.Volume.Create", {"volume": name, "sizeBytes": mib << 20}, timeout=60).result()
PY
sleep 2
volumes=$(quarry ls --no-legend -o name | wc -l)
ok "at most eight of either sort are kept" [ $(($(ids) - volumes)) -le 16 ]

# --- removed with the last volume ---
mapfile -t names < <(quarry ls --no-legend -o name)
quarry umount "${names[@]}" >/dev/null 2>&1
exits "all are removed" 0 quarry rm --yes "${names[@]}"
ok "the last volume takes them with it" wait_for 30 there_are 0

# --- a large volume is removed at once ---
fill() { # GIB
    try quarry create big --size 100G --fs none
    dd if=/dev/zero of="$(quarry mount big)" bs=4M count=$(($1 * 256)) oflag=direct status=none
    try quarry umount big
}
fill 2
used=$(json '.pools[0].dataUsedBytes' quarry pool inspect default)
exits "rm of 2 GiB" 0 quarry rm --yes big
freeing=$(json '.pools[0].freeingBytes // 0' quarry pool inspect default)
ok "its space comes free behind the answer, and the pool says so" [ "$freeing" -gt 0 ]
is "it is not there" "$(quarry ls --no-legend -o name)" ""
exits "its name is free" 0 quarry create big --size 16M --fs none
ok "the space comes back" wait_for 120 eval '[ "$(quarry pool inspect default --json | jq ".pools[0].dataUsedBytes")" -lt '$((used / 10))' ]'
ok "and only the new one is left" wait_for 30 there_are 1
try quarry rm --yes big
fill 1
try quarry rm --yes big
systemctl kill -s KILL quarryd
ok "a restart goes on with it" wait_for 120 there_are 0
fill 1
try quarry rm --yes big
exits "the pool can be removed meanwhile" 0 quarry pool rm --yes default
is "no device is left" "$(dmsetup ls)" "No devices found"
finish
