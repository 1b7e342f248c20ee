/* The pools of this host: one root-owned file each, named by UUID. The disks say whose they are by a tag, so
 * the list only has to remember what they cannot: the files of file-backed pools, and pools whose disks are
 * away. */

#include "step/pool-list.h"
#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/loop.h"
#include "kernel/lvm.h"

#include <quarry/fd.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define ENTRY_MAX 65536u

static int entry_path(sd_id128_t pool, char buf[static PATH_MAX]) {
        char text[UUID_TEXT_MAX];

        return snprintf(buf, PATH_MAX, POOL_LIST_FOLDER "/%s", uuid_format(pool, text));
}

static int entry_write(const PoolInfo *info, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        _cleanup_free_ char *text = NULL;
        char path[PATH_MAX];
        int r;

        if (mkdir(POOL_LIST_FOLDER, 0755) < 0 && errno != EEXIST)
                return error_errno(err, errno, "cannot make " POOL_LIST_FOLDER);
        r = pool_info_to_json(info, &v);
        if (r >= 0)
                r = sd_json_variant_format(v, SD_JSON_FORMAT_PRETTY | SD_JSON_FORMAT_NEWLINE, &text);
        if (r >= 0) {
                entry_path(info->uuid, path);
                r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644);
        }
        return r < 0 ? error_errno(err, r, "cannot write pool %s into the list of pools", info->name) : 0;
}

static int entry_read(const char *path, PoolInfo *ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = file_read(AT_FDCWD, path, ENTRY_MAX, &text, NULL);
        if (r >= 0)
                r = sd_json_parse(text, 0, &v, NULL, NULL);
        return r < 0 ? r : pool_info_from_json(v, ret);
}

int pool_list_find(sd_id128_t pool, PoolInfo *ret, Error *err) {
        char path[PATH_MAX], text[UUID_TEXT_MAX];
        int r;

        entry_path(pool, path);
        r = entry_read(path, ret);
        if (r == -ENOENT)
                return error_set(err, ERROR_NO_SUCH_POOL, r, "this host has no pool with UUID %s",
                                 uuid_format(pool, text));
        return r < 0 ? error_errno(err, r, "cannot read %s", path) : 0;
}

static bool result_has(const JobResult *result, sd_id128_t uuid) {
        for (size_t i = 0; i < result->n_pools; i++)
                if (sd_id128_equal(result->pools[i].uuid, uuid))
                        return true;
        return false;
}

static const PoolInfo *result_named(const JobResult *result, const char *name) {
        for (size_t i = 0; i < result->n_pools; i++)
                if (streq(result->pools[i].name, name))
                        return &result->pools[i];
        return NULL;
}

static int result_add(JobResult *result, PoolInfo *info, Error *err) {
        PoolInfo *list;

        list = realloc(result->pools, (result->n_pools + 1) * sizeof(*list));
        if (!list)
                return error_oom(err);
        result->pools = list;
        list[result->n_pools++] = *info;
        *info = (PoolInfo) {};
        return 0;
}

/* What the list remembers. An entry that cannot be read is reported and does not hide the others. */
int pool_list_read(JobResult *result, Error *err) {
        DIR *folder;
        int r = 0;

        folder = opendir(POOL_LIST_FOLDER);
        if (!folder)
                return errno == ENOENT ? 0 : error_errno(err, errno, "cannot read " POOL_LIST_FOLDER);
        for (struct dirent *e; r >= 0 && (e = readdir(folder));) {
                PoolInfo info = {};
                char path[PATH_MAX];

                if (e->d_name[0] == '.')
                        continue;
                if (snprintf(path, sizeof(path), POOL_LIST_FOLDER "/%s", e->d_name) >= (int) sizeof(path))
                        continue;
                int q = entry_read(path, &info);
                if (q < 0)
                        log_error(e->d_name, "cannot read this entry of the list of pools: %s", strerror(-q));
                else
                        r = result_add(result, &info, err);
                pool_info_done(&info);
        }
        closedir(folder);
        return r;
}

static bool all_are_open(const JobResult *result) {
        for (size_t i = 0; i < result->n_pools; i++) {
                char name[KERNEL_NAME_MAX];
                DmInfo info;

                pool_kernel_name(result->pools[i].uuid, name);
                if (dm_info(name, &info) < 0)
                        return false;
        }
        return result->n_pools > 0;
}

/* Pools that carry this host's tag and are not in the list: the list was lost, the disks were not. */
static int list_scan_run(StepContext *c, Error *err) {
        _cleanup_strv_ char **devices = NULL;
        LvmPool *pools = NULL;
        size_t n = 0;
        int r;

        r = pool_list_read(c->result, err);
        if (r < 0)
                return r;
        if (all_are_open(c->result)) /* the broker was restarted: the disks were looked through at boot */
                return 0;
        r = lvm_candidate_devices(&devices, err);
        if (r < 0)
                return r;
        r = lvm_find_pools(devices, &pools, &n, err);
        if (r < 0 && c->result->n_pools > 0) { /* one bad disk hides no pool that the list knows */
                log_error("pools", "cannot look for others than those in the list: %s", err->text);
                *err = (Error) {};
                return 0;
        }
        if (r < 0)
                return r;
        for (size_t i = 0; i < n && r >= 0; i++) {
                PoolInfo *info = &pools[i].info;

                if (!streq_ptr(pools[i].host, c->host) || result_has(c->result, info->uuid))
                        continue;
                if (result_named(c->result, info->name)) {
                        log_error(info->name, "the disks of a second pool of this name are there; it is left alone");
                        continue;
                }
                r = entry_write(info, err);
                if (r >= 0)
                        r = result_add(c->result, info, err);
        }
        lvm_pools_free(pools, n);
        return r;
}

/* --- import --------------------------------------------------------------------------------------------- */

/* The devices to look at; a regular file among them is attached first. *ret_file: that file. */
static int import_devices(StepContext *c, char ***ret, const char **ret_file, Error *err) {
        _cleanup_strv_ char **devices = NULL;
        const char *file = NULL;

        if (!c->job->pool_spec.devices)
                return lvm_candidate_devices(ret, err);
        for (char **d = c->job->pool_spec.devices; *d; d++) {
                _cleanup_free_ char *loop = NULL;
                struct stat st;
                int r;

                if (stat(*d, &st) < 0)
                        return error_field(err, "devices", "%s: %s", *d, strerror(errno));
                if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
                        return error_field(err, "devices", "%s is neither a block device nor a file", *d);
                if (S_ISREG(st.st_mode)) {
                        if (file || c->job->pool_spec.devices[1])
                                return error_field(err, "devices", "import files one at a time");
                        file = *d;
                        r = loop_attach(file, &loop);
                        if (r < 0)
                                return error_errno(err, r, "cannot attach %s", file);
                }
                if (strv_append(&devices, loop ?: *d) < 0)
                        return error_oom(err);
        }
        *ret = TAKE_PTR(devices);
        *ret_file = file;
        return 0;
}

static int import_one(StepContext *c, LvmPool *pool, const char *file, const JobResult *known, Error *err) {
        char text[UUID_TEXT_MAX];
        int r;

        if (result_named(known, pool->info.name)) {
                r = error_set(err, ERROR_POOL_EXISTS, EEXIST,
                              "this host has another pool named %s; the one found has UUID %s", pool->info.name,
                              uuid_format(pool->info.uuid, text));
                error_hint(err, "export or remove the other one first");
                return r;
        }
        r = pool_check_copies(&pool->info, err);
        if (r >= 0)
                r = lvm_set_host(pool, c->host, err);
        if (r < 0)
                return r;
        if (file) {
                free(pool->info.file);
                pool->info.file = strdup(file);
                if (!pool->info.file)
                        return error_oom(err);
        }
        r = entry_write(&pool->info, err);
        return r < 0 ? r : result_add(c->result, &pool->info, err);
}

/* Not exported, and not this host's: that host may be using it now, over shared storage, and two at once destroy it.
 * Whoever names its disks says that it is not. */
static bool is_foreign(const StepContext *c, const LvmPool *pool) {
        return pool->host && !streq(pool->host, c->host);
}

static int import_found_none(StepContext *c, const LvmPool *pools, size_t n, Error *err) {
        for (size_t i = 0; i < n; i++)
                if (is_foreign(c, &pools[i])) {
                        int r = error_set(err, ERROR_NO_SUCH_POOL, ENOENT,
                                          "found only pools of other hosts, such as %s: they were not exported",
                                          pools[i].info.name);
                        error_hint(err, "if that host does not use it any more: quarry pool import DEVICE...");
                        return r;
                }
        return error_set(err, ERROR_NO_SUCH_POOL, ENOENT, "found no pool to import%s",
                         c->job->pool_spec.devices ? " on these devices" : "");
}

static int list_import_run(StepContext *c, Error *err) {
        _cleanup_(job_result_done) JobResult known = {};
        _cleanup_strv_ char **devices = NULL;
        const char *file = NULL;
        LvmPool *pools = NULL;
        size_t n = 0;
        int r;

        r = pool_list_read(&known, err);
        if (r >= 0)
                r = import_devices(c, &devices, &file, err);
        if (r >= 0)
                r = lvm_find_pools(devices, &pools, &n, err);
        for (size_t i = 0; i < n && r >= 0; i++) {
                if (is_foreign(c, &pools[i]) && !c->job->pool_spec.devices)
                        continue;
                /* In the list, but given up by an export that was cut short, or taken by another host: ours again. */
                if (result_has(&known, pools[i].info.uuid)) {
                        if (streq_ptr(pools[i].host, c->host))
                                continue;
                        r = lvm_set_host(&pools[i], c->host, err);
                        if (r >= 0)
                                r = result_add(c->result, &pools[i].info, err);
                        continue;
                }
                r = import_one(c, &pools[i], file, &known, err);
        }
        if (r >= 0 && c->result->n_pools == 0)
                r = import_found_none(c, pools, n, err);
        lvm_pools_free(pools, n);
        if (r < 0 && file && c->result->n_pools == 0)
                (void) loop_detach(file);
        return r;
}

/* Written before anything is made of the devices: whoever comes after a crash knows what to take away. */
static int list_begin_run(StepContext *c, Error *err) {
        const PoolSpec *spec = &c->job->pool_spec;
        char vg[KERNEL_NAME_MAX];
        PoolInfo info = {
                .uuid = c->pool.uuid,
                .origin = spec->file ? POOL_FILE
                          : spec->vg ? POOL_VG
                                     : POOL_DEVICES,
                .vg = spec->vg ?: vg,
                .file = spec->file,
                .unfinished = true,
        };

        pool_kernel_name(c->pool.uuid, vg);
        buffer_format(info.name, sizeof(info.name), "%s", c->pool.name);
        return entry_write(&info, err);
}

static int list_add_run(StepContext *c, Error *err) {
        c->pool.unfinished = false;
        return entry_write(&c->pool, err);
}

/* What was learned of an active pool since: a renamed group, other disks. Only for information. */
static int list_refresh_probe(StepContext *c, Error *err) {
        return c->pool_is_open ? 1 : 0;
}

static int list_refresh_run(StepContext *c, Error *err) {
        Error failure = {};

        if (entry_write(&c->pool, &failure) < 0)
                log_failure(c->pool.name, &failure, "the list of pools stays as it was");
        return 0;
}

static int list_remove_run(StepContext *c, Error *err) {
        char path[PATH_MAX];

        entry_path(c->job->pool, path);
        return unlink(path) < 0 && errno != ENOENT ? error_errno(err, errno, "cannot remove %s", path) : 0;
}

/* What could not be undone is found by its entry, and taken away by a removal. */
static int list_begin_undo(StepContext *c, Error *err) {
        return c->undo_failed ? 0 : list_remove_run(c, err);
}

/* From here on there is no way back: a restart goes on with it. Nothing else is changed in what is written there:
 * when a creation is undone, its result may have what this job knew of the pool. */
static int list_doom_run(StepContext *c, Error *err) {
        PoolInfo info = {};
        int r;

        r = pool_list_find(c->pool.uuid, &info, err);
        if (r < 0)
                return r;
        info.unfinished = c->pool.unfinished = true;
        r = entry_write(&info, err);
        pool_info_done(&info);
        return r;
}

const Step step_list_begin = { "noting the beginning", NULL, list_begin_run, list_begin_undo };
const Step step_list_doom = { "noting the removal", NULL, list_doom_run, NULL };
const Step step_list_add = { "noting the pool", NULL, list_add_run, list_doom_run };
const Step step_list_refresh = { "noting the pool", list_refresh_probe, list_refresh_run, NULL };
const Step step_list_remove = { "forgetting the pool", NULL, list_remove_run, NULL };
const Step step_list_scan = { "looking for pools", NULL, list_scan_run, NULL };
const Step step_list_import = { "importing", NULL, list_import_run, NULL };
