#!/bin/bash
# A copy of a pool's disk, as an array's snapshot or dd makes it: neither of the two is used while both are there.
# machine: --disk 300M --disk 300M
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

state_is() { [ "$(json '.pools[0].state' quarry pool inspect default)" = "$1" ]; }
bytes() { bytes_of /dev/vda && bytes_of /dev/vdb; }

try quarry pool create default /dev/vda
try quarry create db --size 32M
echo original >"$(quarry mount db)/file"
try quarry umount db

try systemctl stop quarryd.socket quarryd.service quarry-worker.socket
try /usr/lib/quarry/quarry-worker --close-pools
try dd if=/dev/vda of=/dev/vdb bs=4M iflag=direct oflag=direct conv=sparse status=none
try udevadm settle
both=$(bytes)
try systemctl start quarry-worker.socket quarryd.socket quarryd.service
ok "with a copy beside it the pool stays away" wait_for 30 state_is unavailable
try quarry pool inspect default
like "which two are the same is said" "$out" 'Failure: .*there twice: /dev/vd[ab] and /dev/vd[ab]'
like "and what to do" "$out" 'wipefs -a'
refused "its volume cannot be mounted" 1 'default.*there twice' quarry mount db
refused "nor removed" 1 'default.*there twice' quarry rm db
refused "nor can the copy be imported" 1 'there twice|is a pool of this host|already' quarry pool import /dev/vdb
is "not a byte of either was changed" "$(bytes)" "$both"

try wipefs -qa /dev/vdb
ok "without the copy the pool comes back by itself" wait_for 120 state_is active
is "with what was there" "$(cat "$(quarry mount db)/file")" original

# A copy that comes while the pool is in use.
try dd if=/dev/vda of=/dev/vdb bs=1M count=2 conv=fsync status=none
try udevadm settle
is "what is mounted stays" "$(cat /run/quarry/mnt/default/db/file)" original
ok "and can be unmounted" quarry umount db
ok "and mounted" quarry mount db
ok "a volume can be made" quarry create another --size 16M --fs none

finish
