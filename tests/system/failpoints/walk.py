"""Walks failpoints: a verb is run once while the points that it passes are written down, and then once for each
of them, with something happening there. What comes after that must be as if nothing had happened."""

import itertools
import os
import subprocess
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here, os.path.join(here, "../../fake")]

import plugin  # noqa: E402, F401 - for verbs.py
import wire  # noqa: E402
from invariants import findings  # noqa: E402
from kernel import read, stir, unfinished  # noqa: E402

FOLDER, SOCKET = "/run/quarry/failpoints", "/run/quarry/io.quarry"
MIB = 1 << 20
SECONDS = 120  # for what must happen
# Of questions, and of what goes on all the time.
LOOKS = ("answer.look.", "pool_usage.", "volume_usage.", "pool_watch.", "pool_exclusive.", "pool_union.",
         "host_key_look.")
EVERY = 5  # point of a walk that is to be short
FAILURES_MAX = 3  # of one verb; the state is then not one to start from


def wait(claim, what):
    """Until claim() is true."""
    end = time.monotonic() + SECONDS
    while not (value := claim()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {SECONDS} s for {what}")
        time.sleep(0.02)
    return value


def run(*command):
    """Its exit status, or the negative number of the signal that ended it."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode


# --- quarryd

def call(method, fds=(), **parameters):
    return wire.Call(SOCKET, "io.quarry." + method, parameters, fds=fds, timeout=SECONDS).result()


def ask(method, **parameters):
    """The same, of a quarryd that may be dying: what only looks can be asked again."""
    while True:
        try:
            return call(method, **parameters)
        except (wire.Gone, ConnectionError):
            time.sleep(0.02)


def pools():
    return ask("Pool.List")["pools"]


def volumes():
    return ask("Volume.List")["volumes"]


def volume(name):
    return next((v for v in volumes() if v["name"] == name), None)


def pool(name):
    return next((p for p in pools() if p["name"] == name), None)


# --- points

def arm(point, action):
    with open(f"{FOLDER}/.new", "w", encoding="ascii") as f:
        f.write(action + "\n")
    os.rename(f"{FOLDER}/.new", f"{FOLDER}/{point}")


def armed(point):
    return os.path.exists(f"{FOLDER}/{point}")


def disarm():
    for name in os.listdir(FOLDER):
        if name != "log":
            os.unlink(f"{FOLDER}/{name}")


def record():
    """Begins to write the points down."""
    pools()  # with that the broker is behind all points of what it answered before
    open(f"{FOLDER}/log", "w", encoding="ascii").close()
    os.chmod(f"{FOLDER}/log", 0o666)


def recorded():
    """[(process, point)] since then."""
    lines = (line.split() for line in read(f"{FOLDER}/log").splitlines())
    return [(int(pid), point) for pid, point in lines if not point.startswith(LOOKS)]


# --- one verb

class Verb:
    """One that changes something. `method`: of its Varlink interface, or None if nobody asks for it; `jobs`: what
    its workers do for it; `asks`: those that change nothing; `end`: the point that it passes last; `failed_end`: the
    same when it failed, if that is another."""

    title = method = end = failed_end = None
    jobs = asks = frozenset()

    def before(self):
        """Makes what it needs."""

    def run(self):
        """Returns when it was answered; raises wire.Failure or wire.Gone."""

    def after(self, outcome):
        """It was done (None), or ended in an exception: checks that, and that it works again."""


def outcome_of(verb):
    try:
        verb.run()
    except (wire.Failure, wire.Gone, ConnectionError) as e:
        return e
    return None


def went_in_part(pool_):
    """Its creation, removal, export or repair failed half way: it can be asked for again."""
    return unfinished(pool_["uuid"]) or any(word in pool_.get("failure", "") for word in ("was exported", "damaged"))


def settle(strict=True):
    """Everything comes to rest, and then the invariants hold. After an error, what says that it failed may stay."""
    last = []

    def rest():
        try:
            there = pools()  # one whose catalog failed is opened again
            last[:] = [f"pool {p['name']} is {p['state']}" for p in there
                       if p["state"] != "active" and (strict or not went_in_part(p))]
            last.extend(findings(there, ask("Volume.List", type="all")["volumes"], strict))
            if any("not mounted" in text for text in last):
                stir()
        except AssertionError:
            raise
        except Exception as e:  # noqa: BLE001 - something went away while it was looked at
            last[:] = [f"{type(e).__name__}: {e}"]
        return not last

    try:
        wait(rest, "rest")
    except AssertionError as e:
        raise AssertionError("; ".join(last) or str(e)) from None


def points_of(verb, extra):
    """What it passes while the points `extra` ({point: action}) do what they do."""
    run("systemctl", "restart", "quarryd.service")  # by then it may make volumes ahead, which pass points, too
    verb.before()
    record()
    for point, action in extra.items():
        arm(point, action)
    outcome = outcome_of(verb)
    if outcome and not extra:
        raise outcome
    # Asked meanwhile: what failed as quarryd began is tried again when somebody asks.
    end = outcome and verb.failed_end or verb.end
    wait(lambda: pools() is not None and any(point == end for _, point in recorded()), end)
    points = list(dict.fromkeys(point for _, point in recorded()))
    os.unlink(f"{FOLDER}/log")
    settle(strict=not extra)
    verb.after(outcome)
    return points


def strike(verb, point, action, extra):
    """Runs it with something happening at a point."""
    verb.before()
    for name, what in {**extra, point: action}.items():
        arm(name, what)
    try:
        outcome = outcome_of(verb)
        wait(lambda: not armed(point), f"{point} to be passed; the verb was {outcome or 'done'}")
    finally:
        disarm()
    settle(strict=action == "die")
    verb.after(outcome)


class Walk:
    """Walks verbs, prints TAP."""

    def __init__(self, actions, every=1):
        self.actions, self.every, self.count, self.failed, self.total = actions, every, 0, 0, 0

    def result(self, title, problems):
        self.count += 1
        self.failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {self.count} - {title}", flush=True)
        for problem in problems:
            print("".join(f"#   {line}\n" for line in str(problem).splitlines()), end="", flush=True)

    def test(self, title, function, *arguments):
        """Returns what the function does, or None if it failed."""
        try:
            value = function(*arguments)
            self.result(title, [])
            return value
        except Exception as e:  # noqa: BLE001 - it fails this test, and the others go on
            self.result(title, [f"{type(e).__name__}: {e}"])
            return None

    def points(self, points, action, words, extra):
        """points: {verb: list}. In turn, since one often makes what the other needs."""
        problems = {verb: [] for verb in points}
        for row in itertools.zip_longest(*(list_[::self.every] for list_ in points.values())):
            for verb, point in zip(points, row):
                if not point or len(problems[verb]) == FAILURES_MAX:
                    continue
                began = time.monotonic()
                try:
                    strike(verb, point, action, extra)
                    self.total += 1
                except Exception as e:  # noqa: BLE001 - it is told, and the others go on
                    problems[verb].append(f"{point}: {type(e).__name__}: {e}")
                    print(f"# {problems[verb][-1]}", flush=True)
                print(f"# {action} {time.monotonic() - began:.1f} s {point}", flush=True)
        for verb, list_ in points.items():
            if len(problems[verb]) == FAILURES_MAX:
                problems[verb].append("the points after that were not tried")
            self.result(f"{verb.title}, {words}: {len(list_[::self.every])} of {len(list_)} points", problems[verb])

    def verbs(self, *verbs):
        points = {}
        for verb in verbs:
            points[verb] = self.test(f"{verb.title}, with nothing happening", points_of, verb, {}) or []
            jobs = {p.split(".")[0] for p in points[verb]} - {"answer", "catalog"}
            said = verb.jobs | verb.asks
            self.result(f"{verb.title}: its jobs are {', '.join(sorted(jobs))}",
                        [] if jobs == said else [f"its walk says {', '.join(sorted(said))}"])
        for action, words in self.actions.items():
            self.points(points, action, f"{words} at each of its points", {})
        for verb in verbs:
            self.undone(verb, points[verb])

    def undone(self, verb, points):
        """The same for what a job does and its broker when its last step is said to have failed."""
        for job in [p for p in points if p.endswith(".all.done") and p.split(".")[0] not in verb.asks]:
            extra = {job: "fail 5"}
            more = self.test(f"{verb.title}, failing at the end of {job.split('.')[0]}", points_of, verb, extra)
            new = [p for p in more or [] if p not in points]
            for action, words in self.actions.items():
                if new:
                    self.points({verb: new}, action, f"failing and {words} while that is undone", extra)

    def finish(self):
        print(f"# {self.total} points were walked")
        print(f"1..{self.count}")
        return 1 if self.failed else 0


ACTIONS = {"die": "killed", "fail 5": "failing"}


def main(groups):
    """The command line: `all`: at each point, and failing as well; words of the titles of those verbs that are to be
    walked (missing: all of them), each at all its points."""
    whole = "all" in sys.argv
    words = [word for word in sys.argv[1:] if word not in ("1", "all")]
    walk = Walk(ACTIONS if whole else {"die": ACTIONS["die"]}, 1 if whole or words else EVERY)
    for group in groups:
        if not words or any(word in verb.title for word in words for verb in group):
            walk.verbs(*group)
    return walk


def prepare():
    """The folder of the failpoints, and a quarryd that is started again without growing pauses."""
    if not os.path.exists("/dev/virtio-ports/quarry.status"):
        sys.exit("Bail out! Only for the test machine: tests/system/run " + sys.argv[0])
    os.makedirs(FOLDER)
    subprocess.run(["chown", "quarry", FOLDER], check=True)
    override = "/run/systemd/system/quarryd.service.d"
    os.makedirs(override)
    with open(f"{override}/walk.conf", "w", encoding="ascii") as f:
        f.write("[Service]\nRestartSteps=0\n")
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "enable", "--quiet", "quarryd.service"], check=True)  # else the doctor has a finding
