#!/usr/bin/python3
"""Keys: what a rotation does with a worker that is not of its opinion. TAP on stdout."""

import sys

from tap import contains, same, test
from world import main

world = None  # what the test that runs now uses

OTHER = "f" * 32  # a host key that is not the present one


def begin():
    world.worker.add_pool()
    world.start()
    world.create("a", keySource="host")
    world.create("b", keySource="host")


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


if __name__ == "__main__":
    sys.exit(main())
