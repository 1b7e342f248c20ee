#!/bin/bash
# Volumes in fstab and for mount(8): there at boot, before what needs them, and gone in order when the host stops. What
# is wrong with a line, or a disk that is missing, is said, and hinders nobody else.
# machine: --stop
# boots: 3
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

options() { findmnt -no VFS-OPTIONS "$1"; }
mounts_at() { grep -c " $1 " /proc/self/mountinfo; }
all_closed() { ! volume_devices | grep -qvxF "quarry-$(pool_uuid away)"; }
failed_units() { systemctl list-units --failed --plain --no-legend | awk '{ print $1 }' | xargs; }
since_boot() { systemctl show -P ActiveEnterTimestampMonotonic "$1"; }
journal_has() { journalctl -b -o cat | grep -E "$1"; }

by_hand() {
    local crypt

    cd / || return
    exits "mount -t quarry" 0 mount -t quarry vault /srv/vault
    is "mounts it there" "$(options /srv/vault)" rw,nosuid,nodev,relatime
    echo secret >/srv/vault/file
    exits "once more in the same way" 0 mount -t quarry vault /srv/vault
    is "is no second mount" "$(mounts_at /srv/vault)" 1
    refused "in another way it is refused" 32 'already, with options rw, not ro' mount -t quarry -o ro vault /srv/vault
    exits "options of mount(8) and systemd are passed over" 0 mount -t quarry -o defaults,ro,noexec,nofail,_netdev,x-systemd.automount,comment=x plain /srv/plain
    is "its own are set" "$(options /srv/plain)" ro,nosuid,nodev,noexec,relatime
    exits "a name that is a directory's, too" 0 mount -t quarry srv /srv/home
    exits "a whole reference" 0 mount -t quarry default:default/srv /srv/other
    is "is the same volume" "$(stat -c %d /srv/home)" "$(stat -c %d /srv/other)"
    refused "an unknown option" 1 '"discard" is no mount option' mount -t quarry -o discard plain /srv/other
    exits "unless mount is to be sloppy" 0 mount -t quarry -s -o discard plain /mnt
    refused "a volume that is not there" 32 'there is no volume nothing' mount -t quarry nothing /srv/other
    refused "a target that is not there" 1 '/srv/none does not exist' /usr/sbin/mount.quarry plain /srv/none
    refused "a target that is no directory" 1 'not a directory' /usr/sbin/mount.quarry plain /etc/fstab
    refused "a target that hides the list of pools" 1 'would be hidden' /usr/sbin/mount.quarry plain /var/lib/
    ln -s /var/lib/quarry /srv/link
    refused "nor by a link" 1 'would be hidden' /usr/sbin/mount.quarry plain /srv/link
    refused "nor by another way" 1 'would be hidden' /usr/sbin/mount.quarry plain /srv/link/..
    exits "several lists of options" 0 /usr/sbin/mount.quarry plain /srv/none2 -o ro -o noexec
    is "are one" "$(options /srv/none2)" ro,nosuid,nodev,noexec,relatime
    try umount /srv/none2
    refused "a word too few" 1 'mount -t quarry' /usr/sbin/mount.quarry plain
    refused "a passphrase that nobody can be asked for" 1 'key-file=FILE' mount -t quarry safe /srv/safe
    exits "in a file it is found" 0 mount -t quarry -o key-file=/root/safe.key safe /srv/safe
    ok "a fake one" mount -f -t quarry plain /srv/none2
    refused "who is not root" 1 'superuser|root' setpriv --reuid=alice --regid=alice --clear-groups mount -t quarry acme/box /srv/box
    refused "not by the helper either" 1 'takes root' setpriv --reuid=alice --regid=alice --clear-groups /usr/sbin/mount.quarry acme/box /srv/box
    is "mounts nothing" "$(mounts_at /srv/box)" 0

    crypt=quarry-$(volume_uuid vault)-crypt
    ok "while it is mounted its key is in the kernel" dmsetup info "$crypt"
    exits "umount(8) takes each away" 0 umount /srv/vault /srv/plain /srv/home /srv/other /mnt /srv/safe
    ok "and behind it all devices and keys are gone" wait_for 30 all_closed
}

first_boot() {
    useradd --no-create-home alice
    mkdir -p /srv/{vault,plain,home,other,safe,box,late,auto,none2}
    try quarry pool create default /dev/vda
    try quarry pool create away --file /var/lib/quarry/away.img --size 300M
    try quarry create vault --size 64M --encrypt
    try quarry create plain --size 64M
    try quarry create srv --size 32M
    try quarry create away:late --size 16M
    echo passphrase >/root/safe.key
    try quarry create safe --size 32M --key-file /root/safe.key
    try quarry tenant create acme --user alice
    try quarry create acme/box --size 16M
    by_hand

    cat >/etc/fstab <<'FSTAB'
vault /srv/vault quarry defaults 0 0
srv   /srv/home  quarry noexec 0 0
late  /srv/late  quarry nofail 0 0
plain /srv/auto  quarry noauto,x-systemd.automount 0 0
gone  /srv/other quarry noauto 0 0
FSTAB
    try systemctl daemon-reload
    exits "mount -a mounts what fstab has" 0 mount -a
    is "with its options" "$(options /srv/home)" rw,nosuid,nodev,noexec,relatime
    exits "once more" 0 mount -a
    is "adds nothing" "$(mounts_at /srv/vault)$(mounts_at /srv/home)$(mounts_at /srv/late)" 111
    exits "a mount of fstab gets other options" 0 mount -o remount,ro /srv/home
    is "which it has" "$(options /srv/home)" ro,nosuid,nodev,noexec,relatime
    refused "but not where it is not mounted" 32 'not mounted at /srv/plain' mount -t quarry -o remount,ro srv /srv/plain
    refused "one that fails says why" 32 'no volume gone' mount /srv/other
    not_ok "also as a unit" systemctl start srv-other.mount
    ok "in the journal" eval 'journalctl -b -u srv-other.mount | grep "no volume gone"'
    try systemctl reset-failed

    # A service that has a file there open, and what it finds when the host stops; then a pool's disk may go away.
    cat >/etc/systemd/system/shop.service <<'UNIT'
[Unit]
RequiresMountsFor=/srv/vault
[Service]
ExecStart=/bin/sh -c 'exec sleep infinity 3>>/srv/vault/open'
ExecStop=/bin/sh -c 'mountpoint -q /srv/vault && echo "shop $(cut -d" " -f1 /proc/uptime)" >/srv/vault/stopped'
[Install]
WantedBy=multi-user.target
UNIT
    mkdir -p /etc/systemd/system/quarry-pools.service.d
    cat >/etc/systemd/system/quarry-pools.service.d/look.conf <<'UNIT'
[Service]
ExecStopPost=/bin/sh -c '{ dmsetup ls; losetup -l -n; grep quarry /proc/self/mountinfo; } >/var/lib/left; echo "pools $(cut -d" " -f1 /proc/uptime)" >/var/lib/stopped; journalctl -b -o short-monotonic -n 200 >/var/lib/left.log'
ExecStopPost=/bin/sh -c 'if rm /var/lib/hide; then mv /var/lib/quarry/away.img /var/lib/away.img; fi'
UNIT
    try systemctl daemon-reload
    ok "a service has its volume mounted" systemctl enable --now shop.service
    try umount /srv/home
    ok "a unit mounts what was unmounted" systemctl start srv-home.mount
    ok "and takes it away" systemctl stop srv-home.mount
    try systemctl --quiet enable quarryd.service
}

stopped_in_order() {
    is "at the stop nothing was left" "$(cat /var/lib/left)" "No devices found"
    [ "$(cat /var/lib/left)" = "No devices found" ] || tap_why "$(cat /var/lib/left.log)"
    like "the service was stopped first" "$(cat /srv/vault/stopped)" '^shop '
    ok "then the pools, without waiting for a time limit" awk '{ t[NR] = $2 } END { exit !(NR == 2 && t[1] <= t[2] && t[2] - t[1] < 30) }' /srv/vault/stopped /var/lib/stopped
    is "no journal was replayed" "$(dmesg | grep -i '(dm-[0-9]*).*\(recovery\|orphan\)')" ""
}

second_boot() {
    is "the host has booted" "$(systemctl is-system-running --wait)" running
    is "no unit has failed" "$(failed_units)" ""
    is "no order went in a circle" "$(journal_has 'ordering cycle')" ""
    is "all are mounted" "$(mounts_at /srv/vault)$(mounts_at /srv/home)$(mounts_at /srv/late)" 111
    is "with what is in them" "$(cat /srv/vault/file)" secret
    is "and their options" "$(options /srv/home)" rw,nosuid,nodev,noexec,relatime
    ok "before the local filesystems were all there" [ "$(since_boot srv-vault.mount)" -le "$(since_boot local-fs.target)" ]
    ok "the service runs" systemctl is-active shop.service
    stopped_in_order
    is "what is mounted when it is needed is not yet" "$(findmnt -no FSTYPE /srv/auto)" autofs
    exits "who goes there has it" 0 touch /srv/auto/file
    ok "mounted" grep -q ' /srv/auto .* ext4 ' /proc/self/mountinfo
    ok "and lets it go" systemctl stop srv-auto.mount
    touch /var/lib/hide
}

third_boot() {
    ok "without the disk of a pool the others are mounted" mountpoint -q /srv/vault
    ok "and the host boots" systemctl is-active local-fs.target
    is "what is on it is not" "$(mounts_at /srv/late)" 0
    like "but waited for" "$(systemctl show -P ActiveState srv-late.mount)" 'activating|failed'
    is "no order went in a circle" "$(journal_has 'ordering cycle')" ""
    stopped_in_order
    mv /var/lib/away.img /var/lib/quarry/away.img
    ok "when the disk comes it is mounted" wait_for 60 systemctl start srv-late.mount
    ok "and unmounted" umount /srv/late
}

case $1 in
    1) first_boot ;;
    2) second_boot ;;
    3) third_boot ;;
esac
finish
