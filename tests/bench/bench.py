#!/usr/bin/env python3
"""Runs in the test machine: quarry beside what does the same. /dev/vda is quarry's, /dev/vdb LVM's.

bench.py [ROUNDS [GROUP...]]    all groups of cases if none is named
"""
import sys
import time
import traceback

import backup
import bare
import create
import extend
import files
import hammer
import many
import measure
import ours
import parallel
import peers
import restart
import snapshot

GROUPS = {"create": create, "snapshot": snapshot, "parallel": parallel, "many": many, "files": files, "extend": extend,
          "restart": restart, "hammer": hammer, "backup": backup}


def clean_up():
    bare.reset()
    peers.reset()
    ours.remove_all()


def main():
    wanted = sys.argv[2:] or list(GROUPS)
    unknown = [name for name in wanted if name not in GROUPS]
    if unknown:
        sys.exit(f"bench: no group of cases {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    measure.rounds = int(sys.argv[1]) if len(sys.argv) > 1 else measure.rounds
    ours.set_up()
    measure.head()
    failed = []
    for name in wanted:
        began = time.monotonic()
        for action in (GROUPS[name].bench, clean_up):
            try:
                action()
            except Exception:  # whatever it is, the next group has its turn
                failed.append(name)
                traceback.print_exc()
        print(f"-- {name} took {time.monotonic() - began:.0f} s", flush=True)
        measure.tell()
    measure.summary()
    if failed:
        sys.exit("bench: failed: " + ", ".join(dict.fromkeys(failed)))


main()
