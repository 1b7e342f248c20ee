#pragma once

/* Places at which a test can make a program die, fail or hang. They exist only where the whole is built with
 * `make FAILPOINTS=1`; in any other build they are nothing, and tests/lint/symbols checks that.
 *
 * A point is armed by a file of its name in FAILPOINT_FOLDER, which says what happens the next time that the
 * point is passed, once:
 *
 *   die          the process ends at once, by SIGKILL
 *   fail NUMBER  the place goes on as if what it is about had failed with this errno; a place that cannot
 *                fail goes on as if nothing were
 *   hang         the process stays here; the file is now named NAME.hangs, and removing it lets go
 *
 * The names of the points that are passed are appended to the file "log" in that folder if there is one, one
 * line "PID NAME" for each, before anything else happens. Whoever is to pass armed points must be able to
 * write there. */

#include <quarry/base.h>

#define FAILPOINT_FOLDER "/run/quarry/failpoints"

/* The point's name: what is no letter, digit or one of "._" becomes '-'. Returns 0 to go on, or -errno. */
int failpoint_pass(const char *format, ...) _printf_(1, 2);

#ifdef QUARRY_FAILPOINTS
#define FAILPOINTS_BUILT true
#define failpoint(...) failpoint_pass(__VA_ARGS__)
#else
#define FAILPOINTS_BUILT false
#define failpoint(...) (false ? failpoint_pass(__VA_ARGS__) : 0)
#endif
