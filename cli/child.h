#pragma once

/* Other programs that a verb runs, and what becomes of them when somebody ends it. */

#include <quarry/error.h>

#include <sys/types.h>

/* From here on a signal that would end this process ends its children, and is noted: what was made for the verb can go
 * before it ends. */
void child_catch_signals(void);
/* The signal that was noted, or 0. */
int child_caught(void);
/* Lets a signal that was noted end this process now. */
void child_end_by_signal(void);

/* program: a path. in, out: what becomes its standard input and output, borrowed; in negative: nothing to read. */
int child_start(const char *program, char *const *arguments, int in, int out, pid_t *ret, Error *err);
/* The status as waitpid(2) has it. */
int child_wait(pid_t pid);
/* Runs it to its end, with nothing to read, and nothing to be seen of it. Returns its exit status. */
int child_run_silently(const char *program, char *const *arguments, Error *err);
