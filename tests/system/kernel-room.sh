#!/bin/bash
# The room daemon/kernel on a real kernel: tests/vm/run --disk 4G tests/system/kernel-room.sh
# after `tests/vm/enter make system-programs`.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/../.." && pwd)
if [ ! -e /usr/lib/udev/rules.d/59-quarry.rules ]; then # a machine without quarry
    cp "$checkout/udev/59-quarry.rules" /etc/udev/rules.d/
    udevadm control --reload
fi
export QUARRY_TESTS=$checkout/tests/system/kernel
status=0
for program in probe exercise; do
    "${QUARRY_OUT:-$checkout/build/gcc}/tests/system/kernel/$program" || status=1
done
exit $status
