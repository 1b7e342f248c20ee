#!/usr/bin/python3
"""The store of backup repositories in a bucket: quarry-s3 against a real S3 service behind what fails, see
tests/fake/s3_faults.py."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/fake"))
from s3_faults import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Service  # noqa: E402
from tap import contains, eventually, run, same, test  # noqa: E402

OUT = pathlib.Path(os.environ.get("QUARRY", TOP / "build/gcc/quarry")).resolve().parent
HELPER, DRIVER = OUT / "quarry-s3", OUT / "tests/scenario/store-driver"
FOLDER = pathlib.Path("/tmp/store-s3")
SANITIZED = b"__asan_init" in HELPER.read_bytes()
PATIENCE = 6  # seconds: what does not pass is given up soon

s3 = None
drivers = []


class Driver:
    """A store that is open."""

    def __init__(self, bucket="depot", prefix="host-1", endpoint=None, secret=SECRET_ACCESS_KEY, patience=PATIENCE,
                 key=ACCESS_KEY_ID, helper=HELPER):
        credentials = FOLDER / "credentials"
        credentials.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        self.errors = open(FOLDER / "errors", "a+")
        self.process = subprocess.Popen(
            [DRIVER, endpoint or s3.endpoint, bucket, prefix, str(patience), credentials], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.errors, text=True, env={**os.environ, "QUARRY_S3_HELPER": str(helper)})
        self.opened = self.process.stdout.readline().strip()
        drivers.append(self)

    def begin(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self):
        return self.process.stdout.readline().strip()

    def __call__(self, line):
        self.begin(line)
        return self.end()

    def helper(self):
        pid = self.process.pid
        return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def close(self):
        """Both end by themselves, with nothing to complain about."""
        self.process.stdin.close()
        same(self.process.wait(30), 0, "exit status of the driver")


def status(pid, field):
    return re.search(rf"^{field}:[ \t]*(.*)$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1].split()


def is_there(pid):
    return os.path.exists(f"/proc/{pid}/status") and status(pid, "State")[0] != "Z"


def asked(method):
    return [path for have, path, _, _ in s3.seen if have == method]


# --- what a store does

@test
def an_object_is_written_read_looked_for_and_removed():
    store = Driver()
    same(store.opened, "open", "store")
    same(store("has chunks/one"), "0", "before")
    same(store("get chunks/one"), "0", "before")
    same(store("put chunks/one 100000"), "0", "put")
    same(store("has chunks/one"), "1", "has")
    same(store("get chunks/one"), "100000 whole 1", "get")
    same(store("put chunks/one 100000"), "0", "again")
    same(store("remove chunks/one"), "0", "remove")
    same(store("remove chunks/one"), "0", "remove what is not there")
    same(store("has chunks/one"), "0", "after")
    same(store("sync -"), "0", "sync")
    store.close()


@test
def the_smallest_and_the_largest_object():
    store = Driver()
    for size in (0, 1, 4 << 20):
        same(store(f"put chunks/{size} {size}"), "0", "put")
        same(store(f"get chunks/{size}"), f"{size} whole 1", "get")
    contains(store(f"put chunks/more {(4 << 20) + 1}"), "BadRequest")
    same(store("has chunks/more"), "0", "too large")
    store.close()


@test
def a_name_that_is_not_one_is_refused():
    store = Driver()
    for name in ("../one", "chunks/../one", "chunks//one", "/one", "chunks/a%2fb", "chunks/" + "a" * 128):
        contains(store(f"get {name}"), "BadRequest")
    same(store("has chunks/" + "a" * 121), "0", "longest")
    store.close()


@test
def more_objects_than_one_answer_has_are_all_listed():
    store = Driver()
    same(store("fill many 1234"), "0", "fill")
    same(store("put other/one 1"), "0", "put")
    same(store("put manyfold/one 1"), "0", "put")
    s3.heal()
    same(store("list many"), "1234 many/01233 0", "list")
    same(len(asked("GET")), 2, "answers")
    same(store("list many 7"), "7 many/00006 0", "ended by who listed")
    same(store("list none"), "0 - 0", "list of nothing")
    same(store("has many/00000"), "1", "after it")
    store.close()


def lay(kind, of, name):
    """As another program would, what has a name that is none of ours."""
    folder = s3.folder / "objects/depot/host-1" / kind
    for path in [p for p in folder.iterdir() if p.name.startswith(of + ".")]:
        shutil.copy(path, folder / path.name.replace(of + ".", name + ".", 1))


@test
def a_list_goes_on_whatever_its_token_and_its_last_key_are():
    store = Driver()
    lay("many", "00998", "00998a+b c")  # the last of the first answer
    ways = set()

    def both():
        s3.heal()
        same(store("list many"), "1234 many/01233 0", "list")
        ways.add(re.search(r"continuation-token|start-after=[^&]*", asked("GET")[1])[0])
        return len(ways) > 1
    eventually(both, "tokens with '+' and without", 60)
    same(sorted(ways), ["continuation-token", "start-after=host-1%2Fmany%2F00998a%2C"], "ways")
    store.close()


@test
def what_others_lay_there_is_passed_over_and_prefixes_are_apart():
    ours, others, whole = Driver(), Driver(prefix="host-2"), Driver(prefix="")
    same(ours("put apart/one 1"), "0", "put")
    same(others("put apart/two 1"), "0", "put")
    same(others("has apart/one"), "0", "of the other")
    same(whole("has host-2/apart/two"), "1", "all of it")
    same(whole("put apart/three 1"), "0", "put")
    for text in ("with blank", "um\u00e4laut", "a+b", "a%b"):
        lay("apart", "one", text)
    same(ours("list apart"), "1 apart/one 0", "list")
    same(others("list apart"), "1 apart/two 0", "list")
    same(whole("list apart"), "1 apart/three 0", "list")
    for store in (ours, others, whole):
        store.close()


@test
def what_is_sent_is_signed_with_its_sum():
    store = Driver()
    s3.heal()
    same(store("put chunks/signed 4194304"), "0", "put")
    (method, path, headers, digest), = s3.seen
    same((method, path), ("PUT", "/depot/host-1/chunks/signed"), "request")
    same(headers["x-amz-content-sha256"], digest, "sum")
    contains(headers["Authorization"], "AWS4-HMAC-SHA256", "/us-east-1/s3/aws4_request", "x-amz-content-sha256")
    store.close()


@test
def an_upload_that_is_damaged_on_its_way_is_sent_again():
    store = Driver()
    s3.fail("flip-upload", times=2, method="PUT")
    same(store("put chunks/flipped 70000"), "0", "put")
    same(len(asked("PUT")), 3, "tries")
    same(store("get chunks/flipped"), "70000 whole 1", "get")
    store.close()


# --- what passes

@test
def what_passes_is_tried_again():
    store = Driver()
    same(store("put chunks/again 50000"), "0", "put")
    for kind in ("500", "502", "503", "429", "refuse", "truncate", "endless"):
        s3.fail(kind, times=2)
        same(store("get chunks/again"), "50000 whole 1", kind)
        same(len(asked("GET")), 3, kind)
        s3.fail(kind, times=1)
        same(store("list chunks").split()[2], "0", kind)
    for kind in ("500", "503", "refuse"):
        s3.fail(kind, times=2)
        same(store("put chunks/again 50000"), "0", kind)
        s3.fail(kind, times=2)
        same(store("has chunks/again"), "1", kind)
        s3.fail(kind, times=2)
        same(store("remove chunks/not-there"), "0", kind)
    s3.fail("garbage", times=2, method="GET")
    same(store("list chunks").split()[2], "0", "garbage")
    same(len(asked("GET")), 3, "garbage")
    store.close()


@test
def a_part_of_a_list_that_fails_is_asked_for_again_and_tells_nothing_twice():
    store = Driver()
    for rest in ("continuation-token", "start-after"):
        s3.fail("truncate", times=2, path=rest)
        same(store("list many"), "1234 many/01233 0", "list")
        assert len(asked("GET")) in (2, 4), "tries"
    store.close()


# --- what does not

@test
def what_does_not_pass_is_given_up_and_says_why():
    store = Driver()
    same(store("put chunks/never 50000"), "0", "put")
    for kind, words in {
        "503": ("answers 503 Fault503: as it was told to fail", "look after the service"),
        "refuse": ("curl --verbose " + s3.endpoint,),
        "truncate": ("curl --verbose",),
    }.items():
        s3.fail(kind)
        contains(store("get chunks/never"), "Failed: cannot read chunks/never of s3://depot/host-1: ",
                 "(tried 5 times)", *words)
        assert len(asked("GET")) >= 5, kind  # libcurl asks again by itself if a connection that it kept was closed
    s3.fail("garbage")
    contains(store("list chunks"), "cannot list chunks of s3://depot/host-1: the answer is not whole, or none",
             "(tried 5 times)")
    s3.heal()
    same(store("get chunks/never"), "50000 whole 1", "afterwards")
    store.close()


@test
def a_service_that_does_not_answer_or_drips_is_not_waited_for_for_ever():
    store = Driver()
    for kind in ("silent", "drip"):
        s3.fail(kind)
        contains(store("get chunks/never"), "Failed: cannot read chunks/never", "tried")
        assert len(asked("GET")) > 1, "one try"
    s3.fail("silent", times=1)
    same(store("get chunks/never"), "50000 whole 1", "afterwards")
    store.close()


@test
def a_place_where_nobody_listens_is_said():
    store = Driver(endpoint="http://127.0.0.1:9")
    contains(store("has chunks/one"), "Failed: cannot look for chunks/one of s3://depot/host-1: ", "Could not connect",
             "127.0.0.1", "(tried 5 times)", "curl --verbose http://127.0.0.1:9")
    store.close()


@test
def a_service_without_space_is_not_tried_again():
    store = Driver()
    for kind in ("507", "quota"):
        s3.fail(kind)
        contains(store("put chunks/full 10"), "NoSpace: cannot write chunks/full", "make room")
        same(len(asked("PUT")), 1, kind)
    store.close()


@test
def wrong_credentials_are_said_and_not_tried_again():
    s3.heal()
    for store, code in ((Driver(secret="wrong-secret"), "SignatureDoesNotMatch"),
                        (Driver(key="NOBODY"), "InvalidAccessKeyId")):
        for line in ("put chunks/one 10", "get chunks/one", "remove chunks/one", "list chunks"):
            s3.heal()
            answer = store(line)
            contains(answer, "PermissionDenied: cannot ", f"403 {code}", "look at the credentials")
            assert "wrong-secret" not in answer
            same(len(s3.seen), 1, line)
        contains(store("has chunks/one"), "PermissionDenied: cannot look for chunks/one", "403")
        store.close()


@test
def a_bucket_that_is_not_there_is_said():
    store = Driver(bucket="nowhere")
    for line in ("has chunks/one", "get chunks/one", "put chunks/one 1", "list chunks"):
        contains(store(line), "there is no bucket nowhere at " + s3.endpoint, "make bucket nowhere there")
    store.close()


@test
def a_redirect_is_not_followed():
    store = Driver()
    s3.fail("redirect")
    contains(store("get chunks/one"), "answers 301 PermanentRedirect: go elsewhere", "look at endpoint")
    same(len(s3.seen), 1, "requests")
    store.close()


@test
def an_answer_larger_than_any_object_is_not_taken():
    store = Driver()
    s3.heal()
    same(store("put chunks/huge 10"), "0", "put")
    s3.fail("huge", method="GET")
    contains(store("get chunks/huge"), "the answer is larger than any object")
    store.close()


# --- the helper

@test
def the_helper_has_no_rights_and_keeps_no_secret_where_others_look():
    store = Driver(secret="a-secret-of-ours", patience=60)
    s3.fail("silent")
    store.begin("get chunks/one")
    pid = store.helper()
    eventually(lambda: s3.seen, "the request is there")
    same(status(pid, "Uid"), ["65534"] * 4, "user")
    same(status(pid, "Gid"), ["65534"] * 4, "group")
    same(status(pid, "Groups"), [], "groups")
    for field in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        same(int(status(pid, field)[0], 16), 0, field)
    same(status(pid, "NoNewPrivs"), ["1"], "new privileges")
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0", limits, re.M), limits
    if not SANITIZED:
        same(os.stat(f"/proc/{pid}/environ").st_uid, 0, "it is not dumpable: owner of its files in /proc")
    same(sorted(os.listdir(f"/proc/{pid}/fd"), key=int)[:4], ["0", "1", "2", "3"], "descriptors")
    for name in ("cmdline", "environ"):
        assert b"a-secret-of-ours" not in pathlib.Path(f"/proc/{pid}/{name}").read_bytes(), name
    store.process.kill()
    eventually(lambda: not is_there(pid), "it ended with who started it")


@test
def a_helper_that_is_killed_in_the_middle_is_an_error():
    store = Driver(patience=60)
    s3.fail("silent")
    store.begin("get chunks/one")
    eventually(lambda: s3.seen, "the request is there")
    os.kill(store.helper(), signal.SIGKILL)
    contains(store.end(), "Failed: quarry-s3 was ended by signal 9", "run it again")
    contains(store("put chunks/one 1000"), "Failed: quarry-s3 was ended by signal 9")
    store.close()


@test
def a_helper_that_is_not_there_is_said():
    store = Driver(helper="/nowhere/quarry-s3")
    contains(store("get chunks/one"), "Failed: cannot run /nowhere/quarry-s3: No such file or directory")
    store.close()


@test
def a_helper_that_says_what_is_no_answer_is_not_believed():
    for number, text in enumerate((b"\0" * 12, b"\7\0\0\0\0\0\0\0\xff\xff\xff\x7f", b"\x63\0\0\0", b"\7\0\0\0\1\0\0\0")):
        liar = FOLDER / f"liar-{number}"
        liar.write_text(f"#!/usr/bin/python3\nimport os\nos.write(3, {text!r})\nos.read(3, 1)\n")
        liar.chmod(0o755)
        store = Driver(helper=liar)
        contains(store("get chunks/one"), "Failed: quarry-s3 ")
        contains(store("get chunks/one"), "Failed: quarry-s3 ")
        store.close()


# --- TLS

def certificate(name):
    path = FOLDER / f"{name}.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path,
                    "-out", FOLDER / f"{name}.crt"], check=True, capture_output=True)
    with open(path, "a") as f:
        f.write((FOLDER / f"{name}.crt").read_text())
    return path


@test
def a_certificate_is_checked():
    trusted = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    before = trusted.read_text()
    with Service(FOLDER / "tls", "depot", certificate=certificate("store-s3")) as tls:
        store = Driver(endpoint=tls.endpoint)
        contains(store("get chunks/one"), "Failed: cannot read chunks/one", "certificate", "update-ca-certificates")
        same(tls.seen, [], "requests before anybody is trusted")
        store.close()
        try:
            trusted.write_text(before + (FOLDER / "store-s3.crt").read_text())
            store = Driver(endpoint=tls.endpoint)
            same(store("put chunks/one 100000"), "0", "put")
            same(store("get chunks/one"), "100000 whole 1", "get")
            for kind in ("refuse", "truncate"):
                tls.fail(kind, times=2)
                same(store("get chunks/one"), "100000 whole 1", kind)
            tls.fail("refuse", times=2)
            same(store("put chunks/large 4194304"), "0", "put")
            store.close()
        finally:
            trusted.write_text(before)


@contextlib.contextmanager
def around(title):
    s3.heal()
    drivers.clear()
    open(FOLDER / "errors", "w").close()
    try:
        yield
        same((FOLDER / "errors").read_text(), "", "what was said on stderr")
    finally:
        for driver in drivers:
            driver.process.kill()
            driver.process.wait()


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    FOLDER.chmod(0o755)
    with Service(FOLDER / "service", "depot") as s3:
        status_ = run(around)
    sys.exit(status_)
