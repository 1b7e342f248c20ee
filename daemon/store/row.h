#pragma once

#include <sqlite3.h>

#include <quarry/volume.h>

/* A volume, snapshot or template as a row, and back. */

#define ROW_COLUMNS                                                                                               \
        "uuid, role, origin, thin_id, tenant, name, state, failure, size, filesystem, key_source, uid, gid,"      \
        " mode, mkfs_options, labels, created_usec, held, rule, schedule, pending_size, spare_thin_id, old_name," \
        " copied, protected, locked, host_key, kind, source, source_id, read_only, inodes, noswap"
/* Volumes come before the snapshots of them. */
#define ROW_SELECT "SELECT " ROW_COLUMNS " FROM volume ORDER BY origin != ''"
/* Only the same volume is replaced: a row of another volume with this name or thin id is an error. */
#define ROW_UPSERT                                                                                           \
        "INSERT INTO volume (" ROW_COLUMNS ")"                                                               \
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,"     \
        " ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33)"                             \
        " ON CONFLICT (uuid) DO UPDATE SET thin_id = excluded.thin_id, role = excluded.role,"                \
        " origin = excluded.origin, tenant = excluded.tenant, name = excluded.name, state = excluded.state," \
        " failure = excluded.failure, size = excluded.size, uid = excluded.uid, gid = excluded.gid,"         \
        " mode = excluded.mode, labels = excluded.labels, held = excluded.held, rule = excluded.rule,"       \
        " schedule = excluded.schedule, pending_size = excluded.pending_size,"                               \
        " spare_thin_id = excluded.spare_thin_id, old_name = excluded.old_name, copied = excluded.copied,"   \
        " protected = excluded.protected, key_source = excluded.key_source, locked = excluded.locked,"       \
        " host_key = excluded.host_key, source_id = excluded.source_id"
#define ROW_DELETE "DELETE FROM volume WHERE uuid = ?1"

/* Everything that is bound, as values of their own: the writer's thread sees nothing of the broker's. */
typedef struct Row {
        char uuid[UUID_TEXT_MAX], origin[UUID_TEXT_MAX];
        VolumeRole role;
        uint32_t thin_id;
        char *tenant, *name, *failure, *mkfs_options, *labels, *rule, *schedule, *old_name, *source;
        char source_id[SOURCE_ID_MAX];
        VolumeKind kind;
        VolumeState state;
        Filesystem fs;
        KeySource key_source;
        uint64_t size, created_usec, pending_size, inodes;
        uint32_t uid, gid, mode, spare_thin_id;
        bool held, has_spare, copied, protected, locked, read_only, noswap;
        char host_key[HOST_KEY_ID_MAX];
} Row;

int row_from_volume(const Volume *volume, Row *ret); /* 0 or -ENOMEM */
void row_done(Row *row);
void row_bind(const Row *row, sqlite3_stmt *statement);

/* Reads the current row of ROW_SELECT. A snapshot's name is what follows the '@': whoever has its origin completes it.
 * -EINVAL if it breaks a rule, -ENOMEM. */
int row_to_volume(sqlite3_stmt *statement, Volume *ret);

typedef struct VolumeList {
        Volume *list;
        size_t n;
} VolumeList;

void volume_list_done(VolumeList *volumes);
int volume_list_read(sqlite3 *db, VolumeList *ret, Error *err);
