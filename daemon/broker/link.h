#pragma once

/* One connection to one worker. */

#include "broker/queue.h"

typedef struct Link Link;

typedef struct Task {
        struct Task *next;
        QueueOwner owner;
        sd_json_variant *job;
        int key_fd, second_fd;
        bool derives_key;
        bool urgent; /* before all others, and without waiting for a place */
        JobProgress on_progress; /* NULL: the worker need not tell */
        void (*on_report)(const JobResult *report, void *userdata); /* of a job that does not end */
        JobDone on_done;
        void *userdata;
} Task;

typedef void (*LinkDone)(Link *link, Task *task, JobResult *result, int *mount_fd, const Error *err, void *userdata);
typedef void (*LinkGone)(Link *link, void *userdata);

/* Connects to WORKER_SOCKET (environment QUARRY_WORKER_SOCKET, for tests); refuses a worker that does not
 * belong to root. on_gone: the link is to be freed and not used again; it comes after on_done. */
int link_new(sd_event *event, LinkDone on_done, LinkGone on_gone, void *userdata, Link **ret, Error *err);
void link_free(Link *link);

bool link_is_busy(const Link *link);
bool link_is_alive(const Link *link); /* its worker has not hung up */
/* CLOCK_MONOTONIC, microseconds */
uint64_t link_idle_since(const Link *link);
uint64_t link_busy_since(const Link *link);

/* Sends a task, which stays the caller's and must live until on_done. */
int link_send(Link *link, Task *task, Error *err);
Task *link_task(const Link *link); /* that it runs, or NULL */
