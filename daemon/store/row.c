#include "store/row.h"

#include "store/schema.h"

#include <quarry/text.h>

#include <stdio.h>

static char *lines_join(char *const *list) {
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        for (; list && *list; list++)
                fprintf(f, "%s\n", *list);
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}

static int lines_split(const char *text, char ***ret) {
        _cleanup_free_ char *copy = strdup(text);
        _cleanup_strv_ char **list = NULL;
        char *rest = copy, *line;

        if (!copy)
                return -ENOMEM;
        while ((line = strsep(&rest, "\n")))
                if (*line && strv_append(&list, line) < 0)
                        return -ENOMEM;
        *ret = TAKE_PTR(list);
        return 0;
}

void row_done(Row *row) {
        free(row->tenant);
        free(row->name);
        free(row->failure);
        free(row->mkfs_options);
        free(row->labels);
        free(row->rule);
        free(row->schedule);
        free(row->old_name);
        free(row->source);
        *row = (Row) {};
}

/* NULL stays NULL; *failed when memory is out. */
static char *copy(const char *text, bool *failed) {
        char *s = text ? strdup(text) : NULL;

        *failed = *failed || (text && !s);
        return s;
}

int row_from_volume(const Volume *v, Row *ret) {
        bool failed = false;
        Row row = {
                .role = v->spec.role,
                .thin_id = v->thin_id,
                .tenant = copy(v->spec.tenant, &failed),
                .name = copy(snapshot_name_of(v->spec.name) ?: v->spec.name, &failed),
                .failure = copy(v->failure, &failed),
                .mkfs_options = lines_join(v->spec.mkfs_options),
                .labels = lines_join(v->spec.labels),
                .rule = copy(v->rule, &failed),
                .schedule = copy(v->schedule, &failed),
                .old_name = copy(v->old_name, &failed),
                .source = copy(v->spec.source, &failed),
                .kind = v->spec.kind,
                .inodes = v->spec.inodes,
                .read_only = v->spec.read_only,
                .noswap = v->spec.noswap,
                .state = v->state,
                .fs = v->spec.fs,
                .key_source = v->spec.key_source,
                .size = v->spec.size,
                .created_usec = v->created_usec,
                .pending_size = v->pending_size,
                .uid = v->spec.uid,
                .gid = v->spec.gid,
                .mode = v->spec.mode,
                .spare_thin_id = v->spare_thin_id,
                .held = v->held,
                .copied = v->copied,
                .has_spare = v->has_spare,
                .protected = v->spec.protected,
                .locked = v->locked,
        };

        buffer_format(row.host_key, sizeof(row.host_key), "%s", v->host_key);
        uuid_format(v->uuid, row.uuid);
        buffer_format(row.source_id, sizeof(row.source_id), "%s", v->spec.source_id);
        if (!sd_id128_is_null(v->spec.origin))
                uuid_format(v->spec.origin, row.origin);
        if (failed || !row.mkfs_options || !row.labels) {
                row_done(&row);
                return -ENOMEM;
        }
        *ret = row;
        return 0;
}

static void bind_if(sqlite3_stmt *s, int i, bool is_there, uint32_t number) {
        if (is_there)
                sqlite3_bind_int64(s, i, number);
        else
                sqlite3_bind_null(s, i);
}

void row_bind(const Row *row, sqlite3_stmt *s) {
        sqlite3_bind_text(s, 1, row->uuid, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 2, volume_role_to_string(row->role), -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 3, row->origin, -1, SQLITE_STATIC);
        bind_if(s, 4, row->kind == KIND_BLOCK, row->thin_id);
        sqlite3_bind_text(s, 5, row->tenant, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 6, row->name, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 7, volume_state_to_string(row->state), -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 8, row->failure, -1, SQLITE_STATIC); /* NULL binds NULL */
        sqlite3_bind_int64(s, 9, (sqlite3_int64) row->size);
        sqlite3_bind_text(s, 10, filesystem_to_string(row->fs), -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 11, key_source_to_string(row->key_source), -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 12, row->uid);
        sqlite3_bind_int64(s, 13, row->gid);
        sqlite3_bind_int64(s, 14, row->mode);
        sqlite3_bind_text(s, 15, row->mkfs_options, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 16, row->labels, -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 17, (sqlite3_int64) row->created_usec);
        sqlite3_bind_int64(s, 18, row->held);
        sqlite3_bind_text(s, 19, row->rule, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 20, row->schedule, -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 21, (sqlite3_int64) row->pending_size);
        bind_if(s, 22, row->has_spare, row->spare_thin_id);
        sqlite3_bind_text(s, 23, row->old_name, -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 24, row->copied);
        sqlite3_bind_int64(s, 25, row->protected);
        sqlite3_bind_int64(s, 26, row->locked);
        sqlite3_bind_text(s, 27, row->host_key, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 28, volume_kind_to_string(row->kind), -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 29, row->source, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 30, isempty(row->source_id) ? NULL : row->source_id, -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 31, row->read_only);
        sqlite3_bind_int64(s, 32, (sqlite3_int64) row->inodes);
        sqlite3_bind_int64(s, 33, row->noswap);
}

static const char *column(sqlite3_stmt *s, int i) {
        const char *text = (const char *) sqlite3_column_text(s, i);

        return text ?: "";
}

/* NULL stays NULL. */
static int column_copy(sqlite3_stmt *s, int i, char **ret) {
        if (sqlite3_column_type(s, i) == SQLITE_NULL)
                return 0;
        *ret = strdup(column(s, i));
        return *ret ? 0 : -ENOMEM;
}

static int column_enum(sqlite3_stmt *s, int i, int (*from_string)(const char *s)) {
        return from_string(column(s, i));
}

/* A number that fits into 32 bits, unsigned; -EINVAL. */
static int column_uint32(sqlite3_stmt *s, int i, uint32_t *ret) {
        sqlite3_int64 n = sqlite3_column_int64(s, i);

        if (n < 0 || n > UINT32_MAX)
                return -EINVAL;
        *ret = (uint32_t) n;
        return 0;
}

static int read_numbers(sqlite3_stmt *s, Volume *v) {
        if (column_uint32(s, 3, &v->thin_id) < 0 || v->thin_id > THIN_ID_MAX ||
            column_uint32(s, 11, &v->spec.uid) < 0 || column_uint32(s, 12, &v->spec.gid) < 0 ||
            column_uint32(s, 13, &v->spec.mode) < 0 || sqlite3_column_int64(s, 16) < 0 ||
            sqlite3_column_int64(s, 20) < 0 || sqlite3_column_int64(s, 31) < 0)
                return -EINVAL;
        v->spec.size = (uint64_t) sqlite3_column_int64(s, 8);
        v->created_usec = (uint64_t) sqlite3_column_int64(s, 16);
        v->held = sqlite3_column_int64(s, 17) != 0;
        v->copied = sqlite3_column_int64(s, 23) != 0;
        v->spec.protected = sqlite3_column_int64(s, 24) != 0;
        v->locked = sqlite3_column_int64(s, 25) != 0;
        v->spec.read_only = sqlite3_column_int64(s, 30) != 0;
        v->spec.inodes = (uint64_t) sqlite3_column_int64(s, 31);
        v->spec.noswap = sqlite3_column_int64(s, 32) != 0;
        v->pending_size = (uint64_t) sqlite3_column_int64(s, 20);
        v->has_spare = sqlite3_column_type(s, 21) != SQLITE_NULL;
        if (v->has_spare && (column_uint32(s, 21, &v->spare_thin_id) < 0 || v->spare_thin_id > THIN_ID_MAX))
                return -EINVAL;
        return 0;
}

static int read_words(sqlite3_stmt *s, Volume *v) {
        int role = column_enum(s, 1, volume_role_from_string), state = column_enum(s, 6, volume_state_from_string);
        int fs = column_enum(s, 9, filesystem_from_string), source = column_enum(s, 10, key_source_from_string);
        int kind = column_enum(s, 27, volume_kind_from_string);

        if (role < 0 || state < 0 || fs < 0 || source < 0 || kind < 0 ||
            !buffer_format(v->spec.source_id, sizeof(v->spec.source_id), "%s", column(s, 29)))
                return -EINVAL;
        v->spec.kind = (VolumeKind) kind;
        v->spec.role = (VolumeRole) role;
        v->state = (VolumeState) state;
        v->spec.fs = (Filesystem) fs;
        v->spec.key_source = (KeySource) source;
        return 0;
}

static int read_names(sqlite3_stmt *s, Volume *v) {
        const char *origin = column(s, 2), *tenant = column(s, 4), *name = column(s, 5), *host_key = column(s, 26);

        if (sd_id128_from_string(column(s, 0), &v->uuid) < 0 || sd_id128_is_null(v->uuid))
                return -EINVAL;
        if ((v->spec.role == ROLE_SNAPSHOT) != (*origin != 0) ||
            (*origin && (sd_id128_from_string(origin, &v->spec.origin) < 0 || sd_id128_is_null(v->spec.origin))))
                return -EINVAL;
        if (!(v->spec.role == ROLE_TEMPLATE ? streq(tenant, TEMPLATE_TENANT) : tenant_name_is_valid(tenant)) ||
            !(*origin ? snapshot_name_is_valid(name) : volume_name_is_valid(name)))
                return -EINVAL;
        if (*host_key && !host_key_id_is_valid(host_key))
                return -EINVAL;
        buffer_format(v->host_key, sizeof(v->host_key), "%s", host_key);
        buffer_format(v->spec.tenant, sizeof(v->spec.tenant), "%s", tenant);
        /* Any origin will do for the rules: it is put in its place by whoever has it. */
        if (*origin)
                full_name_format("0", name, v->spec.name);
        else
                buffer_format(v->spec.name, sizeof(v->spec.name), "%s", name);
        return 0;
}

int row_to_volume(sqlite3_stmt *s, Volume *ret) {
        _cleanup_(volume_done) Volume v = { .spec = VOLUME_SPEC_DEFAULT };
        int r;

        r = read_words(s, &v);
        if (r >= 0)
                r = read_names(s, &v);
        if (r >= 0)
                r = read_numbers(s, &v);
        if (r >= 0)
                r = column_copy(s, 7, &v.failure);
        if (r >= 0)
                r = column_copy(s, 18, &v.rule);
        if (r >= 0)
                r = column_copy(s, 19, &v.schedule);
        if (r >= 0)
                r = column_copy(s, 22, &v.old_name);
        if (r >= 0)
                r = column_copy(s, 28, &v.spec.source);
        if (r >= 0)
                r = lines_split(column(s, 14), &v.spec.mkfs_options);
        if (r >= 0)
                r = lines_split(column(s, 15), &v.spec.labels);
        if (r >= 0 && volume_spec_normalize(&v.spec, NULL) < 0)
                r = -EINVAL;
        if (r < 0)
                return r;
        *ret = v;
        v = (Volume) {};
        return 0;
}

void volume_list_done(VolumeList *volumes) {
        for (size_t i = 0; i < volumes->n; i++)
                volume_done(&volumes->list[i]);
        free(volumes->list);
        *volumes = (VolumeList) {};
}

static int row_read(sqlite3_stmt *s, VolumeList *volumes, Error *err) {
        Volume volume = {}, *list;

        if (row_to_volume(s, &volume) < 0)
                return error_set(err, ERROR_POOL_UNAVAILABLE, EUCLEAN, "the catalog's row of volume %s breaks a rule",
                                 (const char *) sqlite3_column_text(s, 0));
        if ((volumes->n & (volumes->n - 1)) == 0) { /* full: the room is a power of two */
                list = reallocarray(volumes->list, volumes->n ? volumes->n * 2 : 1, sizeof(*list));
                if (!list) {
                        volume_done(&volume);
                        return error_oom(err);
                }
                volumes->list = list;
        }
        volumes->list[volumes->n++] = volume;
        return 0;
}

int volume_list_read(sqlite3 *db, VolumeList *ret, Error *err) {
        VolumeList volumes = {};
        sqlite3_stmt *s = NULL;
        int r = 0, code;

        if (sqlite3_prepare_v2(db, ROW_SELECT, -1, &s, NULL) != SQLITE_OK)
                return sqlite_error(db, err, "read the catalog");
        while ((code = sqlite3_step(s)) == SQLITE_ROW && r >= 0)
                r = row_read(s, &volumes, err);
        if (r >= 0 && code != SQLITE_DONE)
                r = sqlite_error(db, err, "read the catalog");
        sqlite3_finalize(s);
        if (r < 0)
                volume_list_done(&volumes);
        else
                *ret = volumes;
        return r;
}
