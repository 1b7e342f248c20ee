#!/usr/bin/python3
"""Broker and worker die at a fifth of the points that a verb about volumes passes; nothing is half there afterwards.
With the argument `all` they die and fail at each, and other kinds of volumes are walked, too."""
# build: FAILPOINTS=1
# machine: --disk 2G

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "failpoints"))

import hang  # noqa: E402
from verbs import MORE_VOLUMES, VOLUMES  # noqa: E402
from walk import call, main, prepare, volumes  # noqa: E402

prepare()
call("Pool.Create", name="default", devices=["/dev/vda"])
walk = main(VOLUMES + (MORE_VOLUMES if "all" in sys.argv else []))
for there in volumes():
    call("Volume.Remove", volume=there["name"], snapshots=True)
walk.test("a worker that hangs stops nobody, and can be killed", hang.a_worker)
walk.test("while the catalog's disk hangs, looking and mounting go on", hang.the_disk_of_the_catalog)
sys.exit(walk.finish())
