#!/bin/bash
# A copy of a pool's disk: which of the two is right cannot be seen, so neither is touched.
# machine: --disk 400M --disk 400M --timeout 300
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
try quarry create keep --size 32M
echo content >"$(quarry mount keep)/file"
try quarry umount keep
try quarry pool export default
try dd if=/dev/vda of=/dev/vdb bs=4M conv=fsync
udevadm settle
before=$(sha256sum </dev/vda)
refused "a pool of whose disk a copy is there is not imported" 1 'there twice: /dev/vd[ab] and /dev/vd[ab]' quarry pool import
like "and what to do is said" "$err" 'take the copy away'
is "the disk is as it was" "$(sha256sum </dev/vda)" "$before"
wipefs -qa /dev/vdb
udevadm settle
ok "without the copy it is" quarry pool import
is "with its content" "$(cat "$(quarry mount keep)/file")" content

# A copy that comes while the pool is used does no harm; a daemon that starts again goes on with the disk in use.
try dd if=/dev/vda of=/dev/vdb bs=4M conv=fsync
udevadm settle
try systemctl restart quarryd
is "a pool in use stays with its disk" "$(cat "$(quarry mount keep)/file")" content
ok "a volume is made" quarry create more --size 16M

finish
