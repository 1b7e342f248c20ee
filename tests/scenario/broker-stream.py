#!/usr/bin/python3
"""Volumes whose contents come from outside: whole, or never there, whoever goes when. TAP on stdout."""

import os
import socket
import sys

from tap import contains, eventually, same, test
from world import GIB, MIB, main
from worker import Gate, die_after, die_before, fail

world = None  # what the test that runs now uses


def begin():
    world.worker.add_pool()
    world.start()


class Transfer:
    """One volume on its way."""

    def __init__(self, name="copy", **parameters):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(20)
        what = parameters or {"sizeBytes": GIB, "filesystem": "ext4", "uid": 7, "mode": 0o750, "labels": ["a=b"]}
        self.call = world.begin("Stream.Receive", fds=[theirs.fileno()], volume=name, socketFileDescriptor=0, **what)
        self.theirs = theirs  # which quarry has, too, for as long as it waits

    def device(self):
        """Returns it, open."""
        _, fds, _, _ = socket.recv_fds(self.socket, 1, 1)
        return fds[0]

    def wait(self):
        os.close(self.device())
        return self

    def end(self):
        self.socket.send(b"x")
        return self.call

    def go_away(self):
        self.socket.close()
        return self.call


@test
def what_was_written_is_a_volume():
    begin()
    transfer = Transfer().wait()
    same(world.inspect("copy")["state"], "creating", "until its writer says that all is there")
    uuid = transfer.end().result()["uuid"]
    volume = world.inspect("copy")
    same([volume[k] for k in ("uuid", "state", "filesystem", "sizeBytes", "uid", "mode", "labels")],
         [uuid, "ready", "ext4", GIB, 7, 0o750, {"a": "b"}])
    world.call("Volume.Mount", volume="copy")
    world.check_consistent()


@test
def its_snapshot_comes_with_it():
    begin()
    what = {"sizeBytes": GIB, "filesystem": "ext4", "snapshot": "one", "snapshotLabels": ["quarry.stream=x"]}
    uuid = Transfer("db", **what).wait().end().result()["uuid"]
    same([world.inspect("db")["uuid"], world.inspect("db@one")["labels"]], [uuid, {"quarry.stream": "x"}])
    made = Gate()
    world.worker.rule("volume_snapshot", made)
    transfer = Transfer("killed", **what).wait()
    transfer.end().abandon()
    made.wait()  # its writer is gone
    mount = world.begin("Volume.Mount", volume="killed")
    made.release()
    mount.result()
    same(world.names(type="all"), ["db", "db@one", "killed", "killed@one"])
    world.worker.rule("volume_snapshot", fail("NoSpace", "no room for its maps"))
    same(str(Transfer("bare", **what).wait().end().failure().message),
         "the volume is there, without its snapshot: no room for its maps")
    same(world.names(), ["bare", "db", "killed"])
    for wrong in ({"snapshot": "a/b"}, {"snapshotLabels": ["a=b"]}, {"snapshot": "one", "foreign": True},
                  {"snapshot": "one", "base": "db@one"}):
        name = "db@two" if "base" in wrong else "new"
        same(Transfer(name, sizeBytes=GIB, filesystem="ext4", **wrong).call.failure().kind, "BadRequest", str(wrong))
    world.check_consistent()


@test
def a_tenant_without_room_for_the_snapshot_is_told_first():
    begin()
    world.call("Tenant.Create", name="acme", maxSnapshots=0)
    failure = Transfer("acme/db", sizeBytes=GIB, filesystem="ext4", snapshot="one").call.failure()
    same(failure.kind, "QuotaExceeded", str(failure))
    same(world.names(type="all"), [])


@test
def a_snapshot_of_it_begins_as_another():
    begin()
    world.create("db")
    world.call("Volume.Snapshot", volumes=["db@one"])
    Transfer("db@two", base="db@one", labels=["quarry.stream=x"]).wait().end().result()
    snapshot = world.inspect("db@two")
    same([snapshot["state"], snapshot["labels"], world.inspect("db")["snapshots"]],
         ["ready", {"quarry.stream": "x"}, 2])
    for name, base, kind in (("db@two", "db@one", "VolumeExists"), ("db@three", "db", "BadRequest"),
                             ("db", "db@one", "BadRequest"), ("nix@a", "db@one", "NoSuchVolume")):
        same(Transfer(name, base=base).call.failure().kind, kind, f"{name} of {base}")
    contains(Transfer("db@less", base="db@one", sizeBytes=GIB - MIB).call.failure().message, "no volume shrinks")
    world.check_consistent()


@test
def who_goes_away_leaves_nothing():
    begin()
    world.create("db")
    world.call("Volume.Snapshot", volumes=["db@one"])
    for name, parameters in (("copy", {}), ("db@two", {"base": "db@one"})):
        contains(Transfer(name, **parameters).wait().go_away().failure().message, "went away")
        same(world.names(type="all"), ["db", "db@one"])
    world.worker.rule("volume_remove", fail("VolumeBusy", "somebody has it open"), times=2)
    contains(Transfer().wait().go_away().failure().message, "went away")
    same(world.names(), ["db"], "also when the device was in use for a while longer")
    world.check_consistent()


@test
def nobody_waits_for_a_writer():
    begin()
    world.create("db")
    world.call("Volume.Snapshot", volumes=["db@one"])
    whole = Transfer().wait()
    for method, parameters in (("Mount", {"volume": "copy"}), ("Remove", {"volume": "copy"}),
                               ("Rename", {"volume": "copy", "name": "other"}),
                               ("Snapshot", {"volumes": ["db@two", "copy@two"]}),
                               ("Update", {"volume": "copy", "labels": ["a=c"]})):
        contains(world.refused("VolumeBusy", f"Volume.{method}", **parameters).message, "copy is being received")
    same(world.names(type="all"), ["copy", "db", "db@one"])
    new = Transfer("db@two", base="db@one").wait()
    contains(world.refused("VolumeBusy", "Volume.Remove", volume="db", snapshots=True).message, "is being received")
    same(world.names(type="all"), ["copy", "db", "db@one", "db@two"], "none of them was removed")
    world.call("Volume.Mount", volume="db@one", options=["ro"])
    world.call("Volume.Unmount", volume="db@one")
    world.call("Volume.Remove", volume="db@one")
    whole.end().result()
    new.end().result()
    world.call("Volume.Mount", volume="copy")
    same(world.names(type="all"), ["copy", "db", "db@two"])
    world.check_consistent()


@test
def a_pool_that_fills_ends_it():
    pool = world.worker.add_pool(size=10 * GIB)
    world.start()
    uuid = world.create("db")["uuid"]
    world.call("Volume.Mount", volume="db")
    transfer = Transfer().wait()
    world.worker.report(pool, 200 * MIB, {uuid: GIB})
    contains(transfer.call.failure().message, "nearly full")
    same(transfer.socket.recv(1), b"", "whoever writes is told")
    same(world.names(), ["db"])
    world.check_consistent()


@test
def what_fails_leaves_nothing():
    begin()
    for rule in (fail("Failed", "no room"), die_before, die_after):
        world.worker.rule("volume_receive", rule)
        same(bool(Transfer().call.failure().message), True)
        same(world.names(), [])
        world.check_consistent()
    world.worker.rule("volume_accept", fail("Failed", "there is no filesystem where ext4 was to be"))
    contains(Transfer().wait().end().failure().message, "no filesystem")
    same(world.names(), [])
    world.worker.rule("volume_accept", die_before)
    Transfer().wait().end().result()
    same(world.names(), ["copy"], "a worker that dies over it is followed by another")
    world.check_consistent()


@test
def a_quarryd_that_is_killed_leaves_nothing():
    begin()
    transfer = Transfer().wait()
    world.kill()
    transfer.socket.close()
    world.start()
    eventually(lambda: world.names() == [], "the row of what was never whole is gone")
    gate = Gate()
    world.worker.rule("volume_accept", gate)
    transfer = Transfer().wait()
    transfer.end()
    gate.wait()
    world.kill()
    gate.release()
    world.start()
    eventually(lambda: world.names() == [], "nor does one stay that was not yet accepted")
    world.check_consistent()


@test
def what_makes_no_sense_is_refused():
    begin()
    world.create("db")
    for parameters in ({"sizeBytes": GIB, "filesystem": "ntfs"}, {"sizeBytes": GIB},
                       {"sizeBytes": 0, "filesystem": "ext4"}, {"sizeBytes": GIB, "filesystem": "ext4", "keySource": "x"}):
        same(Transfer("copy", **parameters).call.failure().kind, "BadRequest", str(parameters))
    same(Transfer("db").call.failure().kind, "VolumeExists")
    same(Transfer("copy@s").call.failure().kind, "BadRequest")
    contains(world.refused("BadRequest", "Stream.Receive", volume="copy", sizeBytes=GIB, filesystem="ext4",
                           socketFileDescriptor=0).message, "descriptor")
    pipe, other = os.pipe()
    contains(world.begin("Stream.Receive", fds=[other], volume="copy", sizeBytes=GIB, filesystem="ext4",
                         socketFileDescriptor=0).failure().message, "socket")
    os.close(pipe)
    os.close(other)
    contains(world.refused("NotSupported", "Stream.Send", volume="db").message, "snapshots are sent")
    same(world.names(), ["db"])


if __name__ == "__main__":
    sys.exit(main())
