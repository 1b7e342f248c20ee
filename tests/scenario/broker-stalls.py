#!/usr/bin/python3
"""Pools whose disks do not answer: who waits for them, and what becomes of the answer that comes in the end. The broker
waits 25 s for each, and so does this. TAP on stdout."""

import sys
import time

from tap import contains, eventually, same, test
from world import GIB, main
from worker import Gate, last

world = None  # what the test that runs now uses


def states():
    return {p["name"]: p["state"] for p in world.call("Pool.List")["pools"]}


def on_pool(uuid, rule):
    """A rule for the calls about this pool only."""
    return lambda job, work: rule(job, work) if job["pool"] == uuid else work()


def begin_without_its_disk(name):
    """One pool, which quarryd knows and which is not there."""
    uuid = world.worker.add_pool(name)
    world.worker.unopened[uuid] = "its disk is gone"
    world.start()
    same(states(), {name: "unavailable"})
    return uuid


@test
def pools_that_do_not_answer_at_start_keep_nobody_from_the_others():
    bad = world.worker.add_pool("bad")
    world.worker.add_pool("good")
    world.start()
    world.create("bad:old")
    world.create("good:db")
    world.stop()

    half = world.worker.add_pool("half", unfinished=True)
    world.worker.unopened[half] = "it was cut short"
    opening, removal = Gate(), Gate()
    world.worker.rule("pool_open", on_pool(bad, opening), times=9)
    world.worker.rule("pool_remove", removal)
    world.worker.jobs.clear()
    world.start()
    began = time.monotonic()
    world.call("Volume.Inspect", volume="good:db", timeout=40)
    same(time.monotonic() - began < 10, True)  # what is asked of a volume that is there waits for no other pool
    listed = world.call("Volume.List", timeout=40)
    same([v["name"] for v in listed["volumes"]], ["db"])
    same({p["name"] for p in listed["missingPools"]}, {"bad", "half"})
    same(states(), {"bad": "unavailable", "good": "active", "half": "unavailable"})
    world.call("Volume.Mount", volume="good:db")
    failure = world.refused("PoolUnavailable", "Volume.Create", volume="bad:new", sizeBytes=GIB)
    contains(failure.message, "pool bad after 25 seconds", "disks do not answer")
    contains(failure.parameters["hint"], "journalctl -k")
    time.sleep(8)  # missing disks are looked for, each 15 s: not those that a worker is at
    same(world.worker.count("pool_open"), 3)

    opening.release()
    removal.release()
    eventually(lambda: states() == {"bad": "active", "good": "active"}, "what a worker did is taken over")
    same((sorted(world.names()), world.worker.count("pool_open")), (["db", "old"], 3))
    world.create("bad:new")
    world.check_consistent()


@test
def a_pool_that_does_not_answer_later_keeps_nobody_from_the_others():
    del world.worker.unopened[begin_without_its_disk("bad")]
    gate = Gate()
    world.worker.rule("pool_open", last(lambda: gate(None, bool)))
    found = world.begin("Pool.Import", timeout=40)
    gate.wait()
    create = world.begin("Pool.Create", name="new", devices=["/dev/fake"], timeout=40)
    forget = world.begin("Pool.Remove", name="bad", forget=True, timeout=40)
    contains(found.failure().message, "pool bad after 25 seconds")
    create.result()
    forget.result()
    same(states(), {"new": "active"})

    gate.release()  # it was opened, and nobody wants it any more
    eventually(lambda: world.worker.running == 0, "the worker answered")
    same(states(), {"new": "active"})
    world.create("db")
    world.check_consistent()


@test
def a_pool_that_cannot_be_forgotten_yet_is_so_in_the_end():
    begin_without_its_disk("bad")
    gate = Gate()
    world.worker.rule("pool_forget", gate)  # as the real one waits for who has the pool
    forget = world.begin("Pool.Remove", name="bad", forget=True, timeout=40)
    gate.wait()
    create = world.begin("Pool.Create", name="new", devices=["/dev/fake"], timeout=40)
    contains(forget.failure().message, "pool bad after 25 seconds")
    create.result()
    same(states(), {"bad": "unavailable", "new": "active"})
    gate.release()
    eventually(lambda: states() == {"new": "active"}, "it is forgotten")
    world.check_consistent()


if __name__ == "__main__":
    sys.exit(main())
