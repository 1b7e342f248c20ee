#pragma once

/* Runs the tools of others: lvm, mkfs, KeyCommand=. The only place that starts a process. */

#include <quarry/base.h>

typedef struct SpawnOutput {
        char *out;       /* stdout, NUL-terminated, at most SPAWN_OUTPUT_MAX bytes */
        size_t out_size;
        char *err;       /* the end of stderr, NUL-terminated, without the last newline; for messages */
} SpawnOutput;

#define SPAWN_OUTPUT_MAX (16u << 20)

/* Runs argv[0] (looked up in /usr/sbin:/usr/bin) with a clean environment (LC_ALL=C, TZ=UTC), stdin from
 * /dev/null, no inherited descriptors, default signal state, and drains both outputs to their end.
 * Returns the exit status (0..255); -ETIMEDOUT (killed after timeout_seconds), -EINTR (ended by a
 * signal), -EFBIG (too much output), -errno. ret may be NULL. */
int spawn_run(char *const argv[], unsigned timeout_seconds, SpawnOutput *ret);

/* The same for an output of any length: on_line gets each line of it, without its end. When that fails the program is
 * killed, and the error returned. In *ret only err is set. */
int spawn_lines(char *const argv[], unsigned timeout_seconds, int (*on_line)(const char *line, void *userdata),
                void *userdata, SpawnOutput *ret);

/* Wipes stdout before freeing it: it may be a key. */
void spawn_output_done(SpawnOutput *output);
