#!/bin/bash
# A device that is in use, bears a signature or is none is refused with the reason, and not a byte of it changes.
# machine: --disk 64M --disk 64M --disk 8M --disk 128M
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

# Claims that DEVICE is refused with the reason, and that its bytes are the same afterwards.
untouched() { # WHAT REGEX DEVICE [COMMAND...]
    local what=$1 regex=$2 device=$3 before
    shift 3
    [ $# -gt 0 ] || set -- quarry pool create p "$device"
    before=$(cksum <"$device")
    refused "$what is refused" 1 "$regex" "$@"
    is "$what is untouched" "$(cksum <"$device")" "$before"
}
blank() { # DEVICE
    wipefs -qa "$1" >/dev/null && dd if=/dev/zero of="$1" bs=1M count=1 conv=notrunc,fsync status=none
    udevadm settle
}

# --- what it bears ---
signature() { # WHAT REGEX COMMAND...: makes it on /dev/vda
    local what=$1 regex=$2
    shift 2
    try "$@"
    udevadm settle
    untouched "$what" "/dev/vda bears $regex" /dev/vda
    like "$what: wipefs is named" "$err" 'wipefs --all /dev/vda'
    blank /dev/vda
}
reread() { # of partitions that udev looks at meanwhile none can be taken away
    wait_for 30 blockdev --rereadpt /dev/vda && udevadm settle
}
raid_make() { # superblock 1.2: magic, version, and its own place in sectors
    python3 - <<'PY'
import struct
block = bytearray(4096)
struct.pack_into("<IIII", block, 0, 0xA92B4EFC, 1, 0, 0)
block[16:32] = bytes(range(16))
struct.pack_into("<QQQ", block, 128, 2048, 100000, 8)
with open("/dev/vda", "r+b") as device:
    device.seek(4096)
    device.write(block)
PY
}
xfs_make() { # mkfs.xfs wants 300M; its superblock is enough
    truncate -s 320M /tmp/xfs && mkfs.xfs -q /tmp/xfs && dd if=/tmp/xfs of=/dev/vda bs=64K count=1 conv=fsync status=none
}
luks_make() { printf key | cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file - /dev/vda; }
mbr_make() { printf '\x55\xaa' | dd of=/dev/vda bs=1 seek=510 conv=fsync status=none; }
gpt_make() { # one partition of 16M at 1M, and the protective MBR
    python3 - <<'PY'
import struct, zlib
sectors = 64 * 2048
entry = struct.pack("<16s16sQQQ72s", bytes.fromhex("af3dc60f838472478e793d69d8477de4"), bytes(range(16)), 2048, 34815, 0, b"")
table = entry.ljust(128 * 128, b"\0")
def header(at, other, entries):
    def pack(crc):
        return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, at, other, 34, sectors - 34,
                           bytes(range(1, 17)), entries, 128, 128, zlib.crc32(table))
    return pack(zlib.crc32(pack(0))).ljust(512, b"\0")
mbr = bytearray(512)
mbr[446:462] = struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0xEE, 255, 255, 255, 1, sectors - 1)
mbr[510:] = b"\x55\xaa"
with open("/dev/vda", "r+b") as device:
    device.write(bytes(mbr) + header(1, sectors - 1, 2) + table)
    device.seek((sectors - 33) * 512)
    device.write(table + header(sectors - 1, 1, sectors - 33))
PY
    reread
}

signature "an ext4 filesystem" 'an ext4 filesystem \(label "theirs"\)' mkfs.ext4 -q -L theirs /dev/vda
signature "an XFS filesystem" 'an? xfs filesystem' xfs_make
signature "swap space" 'a swap' mkswap -q /dev/vda
signature "a LUKS header" 'a crypto_LUKS' luks_make
signature "an LVM physical volume" 'an? LVM2_member' pvcreate -q /dev/vda
try pvcreate -q /dev/vda
run quarry pool create p /dev/vda
like "for a physical volume what else can be done is named" "$err" 'quarry pool import /dev/vda; .*--vg VG'
blank /dev/vda
signature "a RAID member" 'a linux_raid_member' raid_make
signature "an empty MBR partition table" 'a dos partition table' mbr_make

backup_gpt_make() { gpt_make && dd if=/dev/zero of=/dev/vda bs=1M count=1 conv=notrunc,fsync status=none && reread; }
signature "the backup of a GPT" 'an? gpt partition table' backup_gpt_make

# --- how it is used ---
try mkfs.ext4 -q /dev/vda
mkdir /tmp/there
try mount -o ro /dev/vda /tmp/there # else the kernel writes on it
untouched "a mounted device" '/dev/vda is mounted at /tmp/there' /dev/vda
not_ok "wipefs is not named for what is in use" grep -q wipefs <<<"$err"
umount /tmp/there

unshare --mount --propagation private sh -c 'mount -o ro /dev/vda /tmp/there && touch /tmp/mounted && exec sleep 1000' &
holder=$!
wait_for 5 test -e /tmp/mounted
wipefs -qaf /dev/vda # so that only the mount is left as a reason
untouched "a device mounted in another namespace only" '/dev/vda is in use' /dev/vda
end $holder
blank /dev/vda

try mkswap -q /dev/vda
try swapon /dev/vda
untouched "swap in use" '/dev/vda is used as swap' /dev/vda
swapoff /dev/vda
blank /dev/vda

try dmsetup create theirs --table "0 8192 linear /dev/vda 8192"
untouched "a device under device-mapper" '/dev/vda is used by (theirs|dm-[0-9]+)' /dev/vda
dmsetup remove --retry theirs

try vgcreate -q host /dev/vda
try lvcreate -qy -L 8M -n theirs host
untouched "a physical volume in use" '/dev/vda is used by' /dev/vda
ok "their logical volume is there" test -b /dev/host/theirs
try vgremove -qyf host
try pvremove -q /dev/vda

try gpt_make
udevadm settle
untouched "a disk with a partition" '/dev/vda has partitions \(/dev/vda1\)' /dev/vda
try mkfs.ext4 -q /dev/vda1
try mount -o ro /dev/vda1 /tmp/there
untouched "a partition in use" '/dev/vda1 is mounted at /tmp/there' /dev/vda1
untouched "the disk around it" '/dev/vda has partitions' /dev/vda
umount /tmp/there
wipefs -qa /dev/vda1
wipefs -qa /dev/vda >/dev/null # tells that it had the table read again
blank /dev/vda

blockdev --setro /dev/vdb
untouched "a read-only device" '/dev/vdb is read-only' /dev/vdb
blockdev --setrw /dev/vdb

# --- one of several ---
try mkswap -q /dev/vdb
untouched "a good device beside a bad one" '/dev/vdb bears a swap' /dev/vda quarry pool create p /dev/vda /dev/vdb
blank /dev/vdb

# --- how large it is ---
untouched "a tiny device" '/dev/vdc is too small: 8M' /dev/vdc
untouched "a device too small for a pool" 'too small for a pool.* at least [0-9]+M' /dev/vdd
is "and bears nothing" "$(wipefs -n /dev/vdd)" ""

# --- what it is ---
echo precious >/tmp/file
refused "a directory" 1 '/tmp is a directory, not a block device' quarry pool create p /tmp
refused "a regular file" 1 '/tmp/file is a file, not a block device' quarry pool create p /tmp/file
like "--file is named" "$err" 'quarry pool create NAME --file'
is "the file is as it was" "$(cat /tmp/file)" precious
refused "a character device" 1 '/dev/null is no block device' quarry pool create p /dev/null
refused "a path where nothing is" 1 '/dev/nope: No such file' quarry pool create p /dev/nope
refused "a path with .." 2 'absolute path' quarry pool create p /dev/../dev/vda
refused "a path with a control character" 2 'absolute path' quarry pool create p $'/dev/vda\n'
not_ok "a relative path to the daemon" varlinkctl call /run/quarry/io.quarry io.quarry.Pool.Create '{"name":"p","devices":["vda"]}'
like "the field is named" "$out$err" 'BadRequest'
refused "the same device twice" 2 'given twice' quarry pool create p /dev/vda /dev/vda
ln -s /dev/vda /tmp/link
refused "the same device by two names" 2 'the same device' quarry pool create p /dev/vda /tmp/link

is "no pool came of all this" "$(quarry pool ls --no-legend)" ""
is "no device" "$(dmsetup ls)" "No devices found"
is "no physical volume" "$(pvs --noheadings)" ""
is "no signature" "$(wipefs -n /dev/vda /dev/vdb /dev/vdc /dev/vdd)" ""

finish
