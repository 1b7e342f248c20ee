"""A few words for test programs that print TAP: @test, same(), run()."""

import os
import sys
import time
import traceback

tests = []


def test(function):
    """The function's name is the test's; it may return a reason why it was skipped."""
    tests.append(function)
    return function


def same(have, want, what=""):
    if have != want:
        raise AssertionError(f"{what}\nhave {have!r}\nwant {want!r}")


def contains(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is not in {text!r}")


def eventually(claim, what, seconds=10):
    """Waits until claim() is true, and returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        value = claim()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for: {what}")
        time.sleep(0.005)


def run(around):
    """Runs each test inside the context manager around(title), those whose names hold a word of the command line if
    there is one. Returns the exit status."""
    chosen = [t for t in tests if len(sys.argv) < 2 or any(word in t.__name__ for word in sys.argv[1:])]
    failed = 0

    print(f"1..{len(chosen)}", flush=True)
    for number, function in enumerate(chosen, 1):
        title = function.__name__.replace("_", " ")
        began = time.monotonic()
        try:
            with around(title):
                skipped = function()
            line = f"ok {number} - {title}" + (f" # SKIP {skipped}" if skipped else "")
            why = ""
        except Exception as e:  # noqa: BLE001 - any exception fails the test, and the others go on
            failed += 1
            line = f"not ok {number} - {title}"
            places = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in traceback.extract_tb(e.__traceback__)
                      if "scenario" in f.filename and "tap.py" not in f.filename]
            why = "\n".join("#   " + part for part in f"{' '.join(places)}: {type(e).__name__}: {e}".splitlines())
        print(line + "\n" + (why + "\n" if why else ""), end="", flush=True)
        if "TAP_TIMES" in os.environ:
            print(f"#   took {time.monotonic() - began:.2f} s", flush=True)
    return 1 if failed else 0
