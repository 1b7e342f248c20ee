"""What hangs stops nobody else."""

import os
import signal

from verbs import MIB, NAME, claim, use
from walk import FOLDER, SOCKET, arm, call, disarm, record, recorded, settle, volume, volumes, wait, wire


def begin_create(point):
    """A create that hangs at that point; returns the call and the process."""
    record()
    arm(point, "hang")
    begun = wire.Call(SOCKET, "io.quarry.Volume.Create", {"volume": "hung", "sizeBytes": 32 * MIB}, timeout=120)
    wait(lambda: os.path.exists(f"{FOLDER}/{point}.hangs"), f"{point} to be passed")
    return begun, next(pid for pid, name in recorded() if name == point)


def a_worker():
    point = "volume_create.making-the-filesystem.run"
    begun, pid = begin_create(point)
    call("Volume.Create", volume=NAME, sizeBytes=32 * MIB)
    use("ext4")
    call("Volume.Remove", volume=NAME)
    os.kill(pid, signal.SIGKILL)
    try:
        begun.result()
    except wire.Failure as failure:
        claim(failure.kind == "WorkerDied", f"the create failed with {failure}")
    else:
        raise AssertionError("the create whose worker was killed is said to be done")
    disarm()
    settle()
    claim(not volume("hung"), "it is there")
    call("Volume.Create", volume="hung", sizeBytes=32 * MIB)
    call("Volume.Remove", volume="hung")


def the_disk_of_the_catalog():
    call("Volume.Create", volume=NAME, sizeBytes=32 * MIB)
    begun, _ = begin_create("catalog.creating.before")
    claim({v["name"]: v["state"] for v in volumes()} == {"hung": "creating", NAME: "ready"}, f"listed are {volumes()}")
    use("ext4")
    disarm()
    claim(begun.result()["volume"]["state"] == "ready", "the create that was let go is not done")
    for name in ("hung", NAME):
        call("Volume.Remove", volume=name)
    settle()
