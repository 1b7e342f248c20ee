#pragma once

/* Jobs on their way to workers. A small set of workers stays connected and warm; a job waits until one is free.
 * A worker runs one job at a time. The tenant that has fewest of them is next, and of its users who has, so that nobody
 * waits for all that others asked for at once, with however many ids. */

#include <quarry/config.h>
#include <quarry/job.h>

#include <systemd/sd-event.h>

typedef struct Queue Queue;

typedef void (*JobProgress)(const char *step, unsigned position, unsigned total, void *userdata);

/* Who asked for a job. */
typedef struct QueueOwner {
        uint64_t tenant; /* Tenant.created_usec of whose volume it is; 0 for what administrators ask for */
        uid_t uid; /* 0 for quarryd itself, too */
} QueueOwner;

/* How a job ended: result and mount descriptor (to be taken with TAKE_FD, else closed), or the error. Called
 * from the event loop, never from inside queue_submit(). */
typedef void (*JobDone)(JobResult *result, int *mount_fd, const Error *err, void *userdata);

int queue_new(sd_event *event, const Config *config, Queue **ret, Error *err);
void queue_free(Queue *queue); /* jobs that run go on in their workers; their callbacks are not called */
DEFINE_CLEANUP(Queue *, queue_free)

/* The job is copied. owner: NULL for quarryd itself. key_fd, second_fd: the passphrase, and
 * another one, a LUKS2 header, or the user namespace of a mount, duplicated; -EBADF for none. */
int queue_submit(Queue *queue, const QueueOwner *owner, const Job *job, int key_fd, int second_fd,
                 JobProgress on_progress, JobDone on_done, void *userdata, Error *err);
