#!/bin/bash
# Disks that fail below a pool: EIO for the catalog, for data, for metadata; one that hangs; one that is gone. The daemon
# answers all along, says what is the matter, leaves other pools alone, and goes on when the disk does.
# machine: --disk 3G --timeout 400
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

root=/run/quarry/mnt/default
sectors=$(blockdev --getsz /dev/vda)
whole="0 $sectors linear /dev/vda 0"

swap() { # TABLE: of the device below the pool, at once
    dmsetup suspend --noflush --nolockfs faulty && dmsetup reload faulty --table "$1" && dmsetup resume faulty
}
failing() { # ROLE: the table with errors where this part of the pool lies
    local start length
    read -r _ length _ _ start < <(dmsetup table "$(pool_part "$1")")
    printf '%s\n' "0 $start linear /dev/vda 0" "$start $length error" \
        "$((start + length)) $((sectors - start - length)) linear /dev/vda $((start + length))"
}
state() { json '.pools[] | select(.name == "default").state' quarry pool ls; }
is_state() { [ "$(state)" = "$1" ]; }
answers() { # WHEN
    exits "$1 volumes are listed at once" 0 timeout 5 quarry ls
    like "$1 with all of them" "$out" "*kept*"
    exits "$1 pools are listed at once" 0 timeout 5 quarry pool ls
    exits "$1 another pool works" 0 timeout 20 quarry mount other:aside
    try quarry umount other:aside
}

try dmsetup create faulty --table "$whole"
try quarry pool create default /dev/mapper/faulty
try quarry pool create other --file /var/lib/quarry/other.img --size 400M
try quarry create kept --size 64M
try quarry create other:aside --size 16M
try quarry mount kept
head -c 8M /dev/urandom >$root/kept/data
sync -f $root/kept/data
sum=$(sha256sum <$root/kept/data)
pid=$(systemctl show -p MainPID --value quarryd)

# --- the catalog
swap "$(failing catalog)"
exits "a create is refused when the catalog fails" 1 quarry create new --size 16M
is "the pool says that it is not available" "$(state)" unavailable
like "and why" "$(quarry pool inspect default)" "*the disk of pool default fails*"
answers "when the catalog fails"
ok "a mounted volume is written as before" dd if=/dev/zero of=$root/kept/more bs=1M count=1 conv=fsync status=none
swap "$whole"
ok "the pool comes back when the disk does" wait_for 60 is_state active
exits "a create works again" 0 quarry create new --size 16M
exits "and a removal" 0 quarry rm new
is "the mounted volume was never away" "$(sha256sum <$root/kept/data)" "$sum"

# --- a disk that does not answer
try dmsetup suspend --noflush --nolockfs faulty
quarry create slow --size 16M >/dev/null 2>&1 &
create=$!
answers "while the disk hangs"
ok "the pool says so when it takes long" wait_for 60 is_state unavailable
like "with the reason" "$(quarry pool inspect default)" "*does not answer*"
exits "what needs the disk is refused at once" 1 timeout 5 quarry create refused --size 16M
try dmsetup resume faulty
wait $create
is "who waited gets the answer" $? 0
ok "the pool comes back behind it" wait_for 60 is_state active
exits "with the volume" 0 quarry inspect slow
is "and what was written is there" "$(sha256sum <$root/kept/data)" "$sum"

# --- data
try quarry mount slow
swap "$(failing data)"
refused_write() { ! dd if=/dev/zero of="$root/slow/x" bs=1M count=1 conv=fsync status=none 2>/dev/null; }
ok "a writer is told that the data cannot be written" refused_write
answers "when the data area fails"
swap "$whole"
quarry umount slow
exits "the volume can be mounted again" 0 quarry mount slow
ok "and written" dd if=/dev/zero of=$root/slow/x bs=1M count=1 conv=fsync status=none
exits "and unmounted" 0 quarry umount slow

# --- all of it
swap "0 $sectors error"
exits "without its disk nothing is created" 1 timeout 60 quarry create gone --size 16M
answers "when the disk is gone"
swap "$whole"
is "the daemon is the same all along" "$(systemctl show -p MainPID --value quarryd)" "$pid"
finish
