#pragma once

/* The broker as a whole. */

#include "broker/queue.h"
#include "broker/registry.h"

#include <quarry/config.h>

#include <systemd/sd-event.h>

typedef struct Audit Audit;
typedef struct MountIds MountIds;
typedef struct Scheduler Scheduler;
typedef struct Watch Watch;

/* Who asks. */
typedef struct Caller {
        uid_t uid;
        gid_t gid;
        pid_t pid;
        bool admin;
        const gid_t *groups; /* all of the process's; borrowed, and only there while a request is judged */
        size_t n_groups;
} Caller;

typedef struct Manager {
        sd_event *event;
        Config config;
        Queue *queue;
        Registry registry;
        Watch *watch;
        Scheduler *scheduler;
        Audit *audit;
        MountIds *mount_ids;
        Operation *operations; /* all of them: those that did not end until quarryd did are freed with it */
        Lane pool_lane;    /* pools are made and imported one at a time: their names must not collide */
        Lane key_lane;     /* of the host key */
        Operation *rotation; /* wraps volumes' keys anew, */
        bool rotation_again; /* and looks once more behind that; */
        bool key_retires;    /* an old key is being destroyed by it: no header that may need that is restored */
        unsigned rotations;  /* how many there were, */
        sd_event_source *rotation_pause;
        gid_t admin_group; /* (gid_t) -1: there is none */

        sd_event_source *missing_source; /* looks for disks that were missing */
        bool ready;     /* every pool of this host is active, or known not to come soon */
        Error failure;  /* why the pools could not be looked for, kind ERROR_NONE otherwise */
        /* Registered by the front: calls that came too early go on, if they can: at each pool that becomes active, and
         * when all is ready. */
        void (*on_ready)(void *userdata);
        void *on_ready_userdata;
} Manager;

int manager_new(sd_event *event, Manager **ret, Error *err);
void manager_free(Manager *manager);
DEFINE_CLEANUP(Manager *, manager_free)

/* Looks for the pools, activates them, cleans up behind what was cut short. Returns at once; manager->ready
 * tells when it is done. */
int manager_start(Manager *manager, Error *err);
/* If looking for the pools failed: does it again. */
void manager_try_again(Manager *manager);
