#!/usr/bin/python3
"""What is told of what happens: to whom, of what, and to readers that do not read. TAP on stdout."""

import os
import socket
import sys
import time

from tap import contains, eventually, same, test
from world import ADMIN_GROUP, GIB, NOBODY, SANITIZED, Call, Failure, as_user, connect_as, main
from wire import connect
from worker import fail

world = None  # what the test that runs now uses

ALICE, BOB, CAROL = 4001, 4002, 4003


def begin(**limits):
    world.worker.add_pool()
    world.start()
    world.call("Tenant.Create", name="acme", users=[ALICE, CAROL], **limits)
    world.call("Tenant.Create", name="beta", users=[BOB, CAROL])


class Follow:
    """Follows the events; by another user if one is given, of whom only the connection is."""

    def __init__(self, uid=0, groups=(), **parameters):
        self.connection = connect_as(world.socket, uid, groups) if uid else connect(world.socket)
        self.connection.send({"method": "io.quarry.Event.Subscribe", "parameters": parameters, "more": True})
        self.first = self.connection.receive()

    def next(self):
        """The next event; what was lost before it is added to it."""
        reply = self.connection.receive()
        same(reply.get("continues"), True, str(reply))
        Call.judge("io.quarry.Event.Subscribe", reply)
        return {**reply["parameters"].get("event", {}), "lost": reply["parameters"].get("lost", 0)}

    def all(self):
        """What comes within a moment."""
        self.connection.socket.settimeout(0.5)
        events = []
        try:
            while True:
                events.append(self.next())
        except TimeoutError:
            return events

    def close(self):
        self.connection.close()


def by(uid, method, groups=(), **parameters):
    def call():
        try:
            return f"done: {Call(world.socket, f'io.quarry.{method}', parameters).result()}"
        except Failure as failure:
            return f"{failure.kind}: {failure.message}"
    return as_user(uid, uid, list(groups), call)


def brief(event):
    return " ".join(str(event[key]) for key in ("type", "verb", "tenant", "volume", "snapshot", "result") if key in event)


@test
def a_change_is_told_with_who_what_and_how_it_ended():
    begin()
    everything = Follow()
    same(everything.first.get("parameters", {}), {}, "the first reply says that it begins")
    by(ALICE, "Volume.Create", volume="db", sizeBytes=GIB)
    event = everything.next()
    uuid = world.inspect("acme/db")["uuid"]
    same({k: event[k] for k in event if k not in ("timeUsec", "durationUsec", "callerPid", "poolUuid", "lost")},
         {"type": "changed", "message": f"create for uid {ALICE} done", "verb": "create", "pool": "default",
          "tenant": "acme", "volume": "db", "volumeUuid": uuid, "callerRole": "member", "callerUid": ALICE,
          "result": "ok", "sizeBytes": GIB})
    assert abs(event["timeUsec"] / 1e6 - time.time()) < 20, event
    assert 0 < event["durationUsec"] < 20e6 and event["callerPid"] > 1, event
    world.call("Volume.Snapshot", volumes=["acme/db@s"])
    world.call("Volume.Clone", volume="acme/db@s", name="acme/copy")
    world.call("Volume.Rename", volume="acme/copy", name="other")
    world.worker.rule("volume_remove", fail("Failed", "the disk is on fire", step="format"))
    snapshot, clone, rename = everything.next(), everything.next(), everything.next()
    same((brief(snapshot), snapshot["volumeUuid"], snapshot["callerRole"]),
         ("changed snapshot acme db s ok", uuid, "admin"))
    same((brief(clone), clone["source"]), ("changed clone acme copy ok", "acme/db@s"))
    same((brief(rename), rename["newName"]), ("changed rename acme copy ok", "other"))
    everything.close()


@test
def an_update_is_told_with_what_was_changed():
    begin()
    world.call("Volume.Create", volume="acme/db", sizeBytes=GIB, labels=["old=1"])
    everything = Follow()
    world.call("Volume.Update", volume="acme/db", labels=["app=web"], removeLabels=["old"], uid=7, mode=0o750,
               protected=True, snapshotSchedule="hourly keep 3")
    world.call("Tenant.Update", name="acme", addUsers=[BOB], maxVolumes=10, maxSizeBytes=None)
    world.call("Pool.Update", name="default", snapshotSchedule="none")
    world.call("Volume.Update", volume="acme/db", labels=[f"l{n}={'x' * 100}" for n in range(9)])
    told = [e["changes"] for e in everything.all() if e["verb"].endswith("update")]
    same(told[:3],
         ["--label app=web --label old- --uid 7 --mode 0750 --protect --snapshot-schedule hourly keep 3",
          f"--user {BOB} --max-volumes 10", "--snapshot-schedule none"])
    many = told[3]
    assert many.startswith("--label l0=x") and many.endswith(" ...") and len(many) < 512, many
    everything.close()


@test
def verbs_are_called_as_the_command_calls_them():
    begin()
    everything = Follow()
    by(ALICE, "Volume.Create", volume="db", sizeBytes=GIB)
    for method, parameters in (("Snapshot", {"volumes": ["acme/db@s"]}), ("Hold", {"volume": "acme/db@s"}),
                               ("Release", {"volume": "acme/db@s"}), ("Remove", {"volume": "acme/db@s"}),
                               ("Mount", {"volume": "acme/db"}), ("Unmount", {"volume": "acme/db"}),
                               ("Remove", {"volume": "acme/db"})):
        world.call(f"Volume.{method}", **parameters)
    same([e["verb"] for e in everything.all()],
         ["create", "snapshot", "hold", "release", "rm", "mount", "umount", "rm"])
    everything.close()


@test
def a_failure_has_its_error():
    begin()
    everything = Follow()
    world.worker.rule("volume_create", fail("NoSpace", "no\nroom \x1b[31mat all", errorNumber=28, step="thin"))
    by(ALICE, "Volume.Create", volume="db", sizeBytes=GIB)
    event = everything.next()
    same((brief(event), event["errorNumber"], event["step"]), ("failed create acme db NoSpace", 28, "thin"))
    same("\n" in event["error"] or "\x1b" in event["message"], False, "what makes another line")
    everything.close()


@test
def each_sees_what_is_theirs():
    begin()
    readers = {"root": Follow(), "admin": Follow(NOBODY, [ADMIN_GROUP]), "alice": Follow(ALICE), "bob": Follow(BOB),
               "carol": Follow(CAROL)}
    for name in ("acme/db", "beta/www", "own"):
        world.create(name)
    by(BOB, "Volume.Create", volume="acme/intruder", sizeBytes=GIB)
    by(NOBODY, "Volume.Create", volume="acme/intruder", sizeBytes=GIB)
    by(NOBODY, "Pool.Inspect", name="default")
    events = {who: [(e["type"], e.get("tenant"), e.get("volume")) for e in reader.all()] for who, reader in readers.items()}
    acme, beta, own = ("changed", "acme", "db"), ("changed", "beta", "www"), ("changed", "default", "own")
    refused = [("refused", "beta", None), ("refused", None, None), ("refused", None, None)]
    same(events, {"root": [acme, beta, own, *refused], "admin": [acme, beta, own, *refused], "alice": [acme],
                  "bob": [beta, refused[0]], "carol": [acme, beta, refused[0]]})
    contains(by(NOBODY, "Event.List"), "PermissionDenied")
    for who, uid, groups in (("admin", NOBODY, [ADMIN_GROUP]), ("alice", ALICE, []), ("bob", BOB, [])):
        listed = by(uid, "Event.List", groups)
        same(["'volume': 'db'" in listed, "'volume': 'www'" in listed, "'volume': 'own'" in listed],
             [v in events[who] for v in (acme, beta, own)], who)
    for reader in readers.values():
        reader.close()


@test
def who_leaves_a_tenant_sees_nothing_more():
    begin()
    alice = Follow(ALICE)
    world.create("acme/one")
    same(brief(alice.next()), "changed create acme one ok")
    world.call("Tenant.Update", name="acme", removeUsers=[ALICE])
    world.create("acme/two")
    same(alice.all(), [])
    world.call("Tenant.Update", name="acme", addUsers=[ALICE])
    world.create("acme/three")
    same(brief(alice.all()[-1]), "changed create acme three ok")
    alice.close()


@test
def a_tenant_that_is_made_again_sees_nothing_of_the_first():
    begin()
    world.create("acme/db")
    world.call("Volume.Remove", volume="acme/db")
    world.call("Tenant.Remove", name="acme")
    world.call("Tenant.Create", name="acme", users=[BOB])
    same("'db'" in by(BOB, "Event.List"), False)
    assert "db" in [e.get("volume") for e in world.call("Event.List")["events"]]


@test
def filters_choose():
    begin()
    world.create("acme/db")
    uuid = world.inspect("acme/db")["uuid"]
    readers = {"by name": Follow(ALICE, volumes=["db"]), "by uuid": Follow(volumes=[uuid]),
               "snapshot": Follow(volumes=["acme/db@s"]), "tenant": Follow(tenant="acme"),
               "other": Follow(volumes=["db", "beta/db"]), "pool": Follow(pool="nope")}
    world.call("Volume.Snapshot", volumes=["acme/db@s"])
    world.call("Volume.Rename", volume="acme/db", name="www")
    world.call("Volume.Trim", volume="acme/www")
    have = {who: [e["verb"] for e in reader.all()] for who, reader in readers.items()}
    same(have, {"by name": ["snapshot", "rename"], "by uuid": ["snapshot", "rename", "trim"], "snapshot": ["snapshot"],
                "tenant": ["snapshot", "rename", "trim"], "other": [], "pool": []})
    same([e["verb"] for e in world.call("Event.List", volumes=["acme/db"])["events"]], ["create", "snapshot", "rename"])
    for parameters in ({"volumes": ["../x"]}, {"tenant": "A B"}, {"pool": "a/b"}, {"volumes": ["v"] * 101}):
        world.refused("BadRequest", "Event.List", **parameters)
    same(by(CAROL, "Event.List", volumes=["db"]).partition(":")[0], "BadRequest", "whose db is not said")
    for reader in readers.values():
        reader.close()


@test
def a_reader_that_stops_holds_nothing_and_is_told_what_it_lost():
    begin()
    stopped, slow = Follow(), Follow(ALICE)
    stopped.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    world.create("acme/db")
    for i in range(1500):
        if i == 500:
            before = world.memory()
        world.call("Volume.Update", volume="acme/db", labels=[f"n={i}"])
    grown = world.memory() - before
    assert SANITIZED or grown < 4 << 20, f"{grown} bytes for what nobody reads"
    for reader in (stopped, slow):
        events = reader.all()
        lost = sum(e["lost"] for e in events)
        assert lost > 0 and len([e for e in events if "type" in e]) + lost == 1501, (len(events), lost)
        same(events[-1]["verb"], "update")
        reader.close()


@test
def one_user_follows_them_so_often():
    begin()
    readers = [Follow(ALICE) for _ in range(16)]
    contains(by(ALICE, "Event.Subscribe"), "ExpectedMore")
    connection = connect_as(world.socket, ALICE, [])
    connection.send({"method": "io.quarry.Event.Subscribe", "more": True})
    contains(str(connection.receive()), "Overloaded")
    connection.close()
    Follow(BOB).close()
    Follow().close()
    for reader in readers:
        reader.close()
    eventually(lambda: try_follow(), "there is room again")


def try_follow():
    connection = connect_as(world.socket, ALICE, [])
    try:
        connection.send({"method": "io.quarry.Event.Subscribe", "more": True})
        return "error" not in connection.receive()
    finally:
        connection.close()


@test
def who_hammers_fills_nothing():
    begin(maxVolumes=0)
    everything = Follow()

    def hammer():
        for i in range(500):
            try:
                Call(world.socket, "io.quarry.Volume.Create", {"volume": f"v{i}", "sizeBytes": GIB}).result()
            except Failure:
                pass
    as_user(ALICE, ALICE, [], hammer)
    by(BOB, "Pool.Inspect", name="default")
    events = everything.all()
    same([e["callerUid"] for e in events], [ALICE] * 20 + [BOB], "of each so many are told")
    same({e["result"] for e in events}, {"QuotaExceeded", "PermissionDenied"})
    everything.close()
    world.stop()
    contains(world.log_text(), f"480 more requests of uid {ALICE} failed or were refused")


@test
def readers_go_with_the_daemon():
    begin()
    readers = [Follow() for _ in range(5)]
    world.stop()
    for reader in readers:
        try:
            reader.next()
        except Exception as e:  # noqa: BLE001
            same(type(e).__name__ in ("Gone", "ConnectionResetError"), True, repr(e))
        reader.close()
    world.start()


@test
def pools_and_their_space_are_told_to_administrators():
    pool = world.worker.add_pool(size=10 * GIB)
    world.start()
    world.call("Tenant.Create", name="acme", users=[ALICE])
    everything, alice = Follow(), Follow(ALICE)
    world.worker.report(pool, GIB // 4)
    eventually(lambda: world.pool()["space"] != "ok", "it is nearly full")
    world.worker.report(pool, 5 * GIB)
    eventually(lambda: world.pool()["space"] == "ok", "and no more")
    types = [(e["type"], e["pool"], e["callerRole"]) for e in everything.all()]
    assert types and set(types) == {("space", "default", "quarryd")}, types
    same(alice.all(), [])
    kinds = [(e["type"], e["message"]) for e in world.call("Event.List", pool="default")["events"]]
    same(kinds[0], ("pool", "active with 0 volumes"))
    everything.close()
    alice.close()


if __name__ == "__main__":
    sys.exit(main())
