#!/usr/bin/python3
"""Keys: rotations with a worker that does something else, and what comes between. TAP on stdout."""

import errno
import os
import sys

from tap import contains, eventually, same, test
from world import GIB, main, sealed
from worker import Gate, fail

world = None  # what the test that runs now uses

OTHER = "f" * 32  # a host key that is not the present one


def begin():
    world.worker.add_pool()
    world.start()
    world.create("a", keySource="host")
    world.create("b", keySource="host")


@test
def a_host_key_is_missing_only_once_a_volume_needs_it():
    world.worker.add_pool()
    world.start()
    missing = fail("WrongKey", "this host has no host key", errorNumber=errno.ENOKEY)
    world.worker.rule("host_key_look", missing)
    same(world.call("Key.Status"), {"keys": [], "unknown": 0, "rotating": False, "missingPools": []})
    world.create("a", keySource="host")
    world.worker.rule("host_key_look", missing)
    contains(world.refused("WrongKey", "Key.Status").message, "no host key")


@test
def a_rotation_ends_when_keys_are_wrapped_by_another_than_the_present_one():
    def by_another(job, work):
        reply = work()
        world.worker.wrapped[job["volume"]["uuid"]] = OTHER
        reply["parameters"]["result"]["keys"]["hostKey"] = OTHER
        return reply

    begin()
    world.worker.rule("volume_key_wrap", by_another, times=99)
    answer = world.call("Key.Rotate")
    contains(answer["failure"], "another host key")
    same((answer["wrapped"], world.worker.count("volume_key_wrap")), (0, 2), "each was tried once")
    present = world.worker.host_keys[0]["id"]
    same({job["key"]["id"] for v, job, _ in world.worker.jobs if v == "volume_key_wrap"}, {present}, "what it was told")
    same(world.worker.count("host_key_retire"), 1, "the old one, which nobody needs")
    world.worker.forget_rules()
    world.worker.host_keys.append({"id": OTHER, "source": "kept"})
    same(world.call("Key.Rotate")["wrapped"], 2, "it goes on")
    same(world.worker.host_keys, [{"id": present, "source": "file"}])


@test
def a_rotation_ends_when_an_old_key_cannot_be_destroyed():
    def not_at_all(job, work):
        return {"parameters": {"result": {"open": False, "usedBytes": 0, "hostKeys": world.worker.host_keys}}}

    begin()
    world.worker.rule("host_key_retire", not_at_all, times=99)
    contains(world.refused("Failed", "Key.Rotate").message, "still there")
    same(world.worker.count("host_key_retire"), 1, "it was tried once")


@test
def nobody_mounts_a_snapshot_while_its_volume_is_locked():
    begin()
    world.call("Volume.Snapshot", volumes=["a@s"])
    gate = Gate()
    world.worker.rule("volume_claim", gate, name="a")
    lock = world.begin("Key.Lock", volume="a")
    gate.wait()
    world.refused("VolumeLocked", "Volume.Mount", volume="a@s", readOnly=True)
    gate.release()
    lock.result()
    world.call("Key.Unlock", volume="a")
    gate = Gate()
    world.worker.rule("volume_mount", gate)
    mount = world.begin("Volume.Mount", volume="a@s", readOnly=True, detached=True)
    gate.wait()
    contains(world.refused("VolumeBusy", "Key.Lock", volume="a").message, "snapshot a@s is open")
    gate.release()
    mount.result()


@test
def no_header_is_restored_while_an_old_key_is_destroyed():
    begin()
    gate = Gate()
    world.worker.rule("host_key_retire", gate)
    rotation = world.begin("Key.Rotate")
    gate.wait()
    header = sealed(b"header")
    restore = {"volume": "a", "headerFileDescriptor": 0, "fds": (header,)}
    contains(world.refused("VolumeBusy", "Key.Restore", **restore).message, "being destroyed")
    gate.release()
    rotation.result()
    world.call("Key.Restore", **restore)
    os.close(header)


@test
def what_is_suspended_is_unlocked_in_a_pool_that_takes_no_changes():
    begin()
    world.call("Volume.Mount", volume="a")
    world.call("Key.Lock", volume="a", suspend=True)
    world.call("Key.Lock", volume="b")
    world.worker.report(next(iter(world.worker.pools)), GIB, readOnly=True)
    eventually(lambda: world.pool().get("failure"), "its metadata cannot be written")
    world.refused("PoolUnavailable", "Key.Unlock", volume="b")
    world.call("Key.Unlock", volume="a")
    same(world.worker.suspended, set(), "it has its key again")
    world.worker.report(next(iter(world.worker.pools)), GIB)
    eventually(lambda: not world.pool().get("failure"), "and the pool takes changes")


if __name__ == "__main__":
    sys.exit(main())
