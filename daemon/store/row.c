#include "store/row.h"

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
        *row = (Row) {};
}

int row_from_volume(const Volume *v, Row *ret) {
        Row row = {
                .thin_id = v->thin_id,
                .tenant = strdup(v->spec.tenant),
                .name = strdup(v->spec.name),
                .failure = v->failure ? strdup(v->failure) : NULL,
                .mkfs_options = lines_join(v->spec.mkfs_options),
                .labels = lines_join(v->spec.labels),
                .state = v->state,
                .fs = v->spec.fs,
                .key_source = v->spec.key_source,
                .size = v->spec.size,
                .created_usec = v->created_usec,
                .uid = v->spec.uid,
                .gid = v->spec.gid,
                .mode = v->spec.mode,
        };

        uuid_format(v->uuid, row.uuid);
        if (!row.tenant || !row.name || !row.mkfs_options || !row.labels || (v->failure && !row.failure)) {
                row_done(&row);
                return -ENOMEM;
        }
        *ret = row;
        return 0;
}

void row_bind(const Row *row, sqlite3_stmt *s) {
        sqlite3_bind_text(s, 1, row->uuid, -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 2, row->thin_id);
        sqlite3_bind_text(s, 3, row->tenant, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 4, row->name, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 5, volume_state_to_string(row->state), -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 6, row->failure, -1, SQLITE_STATIC); /* NULL binds NULL */
        sqlite3_bind_int64(s, 7, (sqlite3_int64) row->size);
        sqlite3_bind_text(s, 8, filesystem_to_string(row->fs), -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 9, key_source_to_string(row->key_source), -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 10, row->uid);
        sqlite3_bind_int64(s, 11, row->gid);
        sqlite3_bind_int64(s, 12, row->mode);
        sqlite3_bind_text(s, 13, row->mkfs_options, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 14, row->labels, -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 15, (sqlite3_int64) row->created_usec);
}

static const char *column(sqlite3_stmt *s, int i) {
        const char *text = (const char *) sqlite3_column_text(s, i);

        return text ?: "";
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

int row_to_volume(sqlite3_stmt *s, Volume *ret) {
        _cleanup_(volume_done) Volume v = { .spec = VOLUME_SPEC_DEFAULT };
        int state, fs, source, r;

        if (sd_id128_from_string(column(s, 0), &v.uuid) < 0 || sd_id128_is_null(v.uuid))
                return -EINVAL;
        if (column_uint32(s, 1, &v.thin_id) < 0 || v.thin_id > THIN_ID_MAX)
                return -EINVAL;
        if (column_uint32(s, 9, &v.spec.uid) < 0 || column_uint32(s, 10, &v.spec.gid) < 0 ||
            column_uint32(s, 11, &v.spec.mode) < 0 || sqlite3_column_int64(s, 14) < 0)
                return -EINVAL;
        if (!tenant_name_is_valid(column(s, 2)) || !volume_name_is_valid(column(s, 3)))
                return -EINVAL;
        state = column_enum(s, 4, volume_state_from_string);
        fs = column_enum(s, 7, filesystem_from_string);
        source = column_enum(s, 8, key_source_from_string);
        if (state < 0 || fs < 0 || source < 0)
                return -EINVAL;

        buffer_format(v.spec.tenant, sizeof(v.spec.tenant), "%s", column(s, 2));
        buffer_format(v.spec.name, sizeof(v.spec.name), "%s", column(s, 3));
        v.state = (VolumeState) state;
        v.spec.fs = (Filesystem) fs;
        v.spec.key_source = (KeySource) source;
        v.spec.size = (uint64_t) sqlite3_column_int64(s, 6);
        v.created_usec = (uint64_t) sqlite3_column_int64(s, 14);
        if (sqlite3_column_type(s, 5) != SQLITE_NULL) {
                v.failure = strdup(column(s, 5));
                if (!v.failure)
                        return -ENOMEM;
        }
        r = lines_split(column(s, 12), &v.spec.mkfs_options);
        if (r >= 0)
                r = lines_split(column(s, 13), &v.spec.labels);
        if (r >= 0 && volume_spec_normalize(&v.spec, NULL) < 0)
                r = -EINVAL;
        if (r < 0)
                return r;
        *ret = v;
        v = (Volume) {};
        return 0;
}
