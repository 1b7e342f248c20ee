#pragma once

/* /etc/quarry/quarry.conf and quarry.conf.d/: host-wide settings, see quarry.conf(5). */

#include <quarry/base.h>
#include <quarry/error.h>

#define CONFIG_FILE "/etc/quarry/quarry.conf"
#define ADMIN_GROUP "quarry-admin"
#define SERVICE_USER "quarry"

typedef struct Config {
        char *default_pool;           /* [Pool] Default= */
        uint64_t overprovision_max;   /* [Pool] MaxOverprovision=: provisioned bytes per byte of data, times */
        unsigned auto_extend_threshold; /* [Pool] AutoExtendThreshold=: percent; 100: never */
        unsigned auto_extend_step;    /* [Pool] AutoExtendStep=: percent of what the pool has */
        bool used_limit_stops;        /* [Tenants] UsedLimitAction=stop, or refuse */
        char **allowed_roots;         /* [Bind] AllowedRoots=: below these the sources of bind volumes lie */
        uint64_t docker_size;         /* [Docker] DefaultSize=: bytes of a volume of which nobody says how many */
        unsigned workers_max;         /* [Jobs] Workers=; 0: number of CPUs, at least 2 */
        char **key_command;           /* [Encryption] KeyCommand=: argv, prints the host key */
        uint64_t argon2_memory;       /* [Encryption] Argon2Memory=: bytes for one passphrase */
        uint64_t argon2_memory_total; /* [Encryption] Argon2MemoryTotal=: bytes for all opens at once */
        uint64_t argon2_iterations;   /* [Encryption] Argon2Iterations=; 0: measured, about a second */
} Config;

/* Reads path, then path.d/?*.conf in order; a missing file is the defaults. An unknown key, a bad value
 * or a line that is neither is an error with file and line: a typo must not silently become a default. */
int config_load(const char *path, Config *ret, Error *err);

/* The parser alone: applies one file's text on top of config. name is for messages. */
int config_parse(Config *config, const char *name, const char *text, Error *err);

int config_set_defaults(Config *config);
void config_done(Config *config);
