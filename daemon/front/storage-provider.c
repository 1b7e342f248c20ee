/* io.systemd.StorageProvider: the same volumes for systemd's clients. Its errors have no text; what it has none for is
 * answered as any service of systemd does. */

#include "front/storage-provider.h"

#include "broker/acquire.h"
#include "broker/find.h"
#include "broker/policy.h"
#include "broker/usage.h"
#include "front/call.h"

#include <quarry/api.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define PATTERN_MAX 512u

/* A client maps so many ids to its own: those from the base that it is told. Ours are stored as the host has them. */
#define RANGE_SIZE 65536u

static const char *const type_words[_ACQUIRE_TYPE_MAX] = { "blk", "reg", "dir" };
static const char *const mode_words[_ACQUIRE_MODE_MAX] = { "any", "new", "open" };

static int fail(Call *call, const Error *err) {
        const char *field = streq(err->field, "readOnly")    ? "readOnly"
                            : streq(err->field, "sizeBytes") ? "createSizeBytes"
                                                             : "name";

        switch (err->kind) {
        case ERROR_NO_SUCH_VOLUME:
        case ERROR_NO_SUCH_POOL:
        case ERROR_NO_SUCH_TENANT:
                return sd_varlink_error(call->link, API_STORAGE_PROVIDER ".NoSuchVolume", NULL);
        case ERROR_VOLUME_EXISTS:
                return sd_varlink_error(call->link, API_STORAGE_PROVIDER ".VolumeExists", NULL);
        case ERROR_BAD_REQUEST:
                return sd_varlink_error_invalid_parameter_name(call->link, field);
        case ERROR_PERMISSION_DENIED:
                return sd_varlink_error(call->link, SD_VARLINK_ERROR_PERMISSION_DENIED, NULL);
        default:
                return call_error(call->link, NULL, err);
        }
}

static int dispatch_word(const char *const *words, int n, sd_json_variant *v, int *ret) {
        for (int i = 0; i < n; i++)
                if (streq_ptr(words[i], sd_json_variant_string(v))) {
                        *ret = i;
                        return 0;
                }
        return sd_json_variant_is_null(v) ? 0 : -EINVAL;
}

/* --- Acquire -------------------------------------------------------------------------------------------- */

static int dispatch_type(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        return dispatch_word(type_words, _ACQUIRE_TYPE_MAX, v, userdata);
}

static int dispatch_mode(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        return dispatch_word(mode_words, _ACQUIRE_MODE_MAX, v, userdata);
}

static int dispatch_access(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        AcquireAccess *access = userdata;

        if (!sd_json_variant_is_null(v))
                *access = sd_json_variant_boolean(v) ? ACQUIRE_READ_ONLY : ACQUIRE_WRITABLE;
        return 0;
}

static int fd_is_read_only(int fd, bool is_folder) {
        struct statvfs fs;
        int flags;

        if (is_folder)
                return fstatvfs(fd, &fs) < 0 ? -errno : (fs.f_flag & ST_RDONLY) != 0;
        flags = fcntl(fd, F_GETFL);
        return flags < 0 ? -errno : (flags & O_ACCMODE) == O_RDONLY;
}

static int acquire_reply(Call *call, Operation *op) {
        struct stat status;
        bool is_folder;
        int index, read_only;

        if (fstat(op->mount_fd, &status) < 0)
                return -errno;
        is_folder = S_ISDIR(status.st_mode);
        read_only = fd_is_read_only(op->mount_fd, is_folder);
        if (read_only < 0)
                return read_only;
        index = sd_varlink_push_fd(call->link, op->mount_fd);
        if (index < 0)
                return index;
        TAKE_FD(op->mount_fd);
        return sd_varlink_replybo(
                call->link,
                SD_JSON_BUILD_PAIR_INTEGER("fileDescriptorIndex", index),
                SD_JSON_BUILD_PAIR_STRING("type", type_words[is_folder ? ACQUIRE_FOLDER : ACQUIRE_DEVICE]),
                SD_JSON_BUILD_PAIR_BOOLEAN("readOnly", read_only),
                SD_JSON_BUILD_PAIR_CONDITION(
                        is_folder, "baseUID", SD_JSON_BUILD_UNSIGNED(status.st_uid - status.st_uid % RANGE_SIZE)),
                SD_JSON_BUILD_PAIR_CONDITION(
                        is_folder, "baseGID", SD_JSON_BUILD_UNSIGNED(status.st_gid - status.st_gid % RANGE_SIZE)));
}

static int refuse(Call *call, AcquireRefusal refusal) {
        static const char *const names[_ACQUIRE_REFUSAL_MAX] = {
                [ACQUIRE_NO_SUCH_TEMPLATE] = API_STORAGE_PROVIDER ".NoSuchTemplate",
                [ACQUIRE_TYPE_NOT_SUPPORTED] = API_STORAGE_PROVIDER ".TypeNotSupported",
                [ACQUIRE_WRONG_TYPE] = API_STORAGE_PROVIDER ".WrongType",
                [ACQUIRE_SIZE_REQUIRED] = API_STORAGE_PROVIDER ".CreateSizeRequired",
                [ACQUIRE_READ_ONLY_VOLUME] = API_STORAGE_PROVIDER ".ReadOnlyVolume",
                [ACQUIRE_BAD_TEMPLATE] = API_STORAGE_PROVIDER ".BadTemplate",
        };
        int r;

        r = sd_varlink_error(call->link, names[refusal], NULL);
        call_free(call);
        return r;
}

static int vl_method_acquire(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                             void *userdata) {
        static const sd_json_dispatch_field table[] = {
                { "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(AcquireRequest, name),
                  SD_JSON_MANDATORY },
                { "createMode", SD_JSON_VARIANT_STRING, dispatch_mode, offsetof(AcquireRequest, mode),
                  SD_JSON_NULLABLE },
                { "template", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(AcquireRequest, template),
                  SD_JSON_NULLABLE },
                { "readOnly", SD_JSON_VARIANT_BOOLEAN, dispatch_access, offsetof(AcquireRequest, access),
                  SD_JSON_NULLABLE },
                { "requestAs", SD_JSON_VARIANT_STRING, dispatch_type, offsetof(AcquireRequest, type),
                  SD_JSON_NULLABLE },
                { "createSizeBytes", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint64,
                  offsetof(AcquireRequest, size), SD_JSON_NULLABLE },
                { "allowInteractiveAuthentication", SD_JSON_VARIANT_BOOLEAN, NULL, 0, SD_JSON_NULLABLE },
                {},
        };
        AcquireRequest request = { .type = ACQUIRE_EITHER, .size = ACQUIRE_SIZE_UNSET };
        AcquireRefusal refusal;
        Error err = {};
        Call *call;
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &request);
        if (r != 0)
                return r;
        r = call_begin(link, flags, NULL, "acquire", acquire_reply, &call);
        if (r <= 0)
                return r;
        call->fail = fail;
        Watcher watcher = call_watcher(call);
        r = acquire(server_manager(call->server), &call->caller, &request, &watcher, &refusal, &err);
        return r < 0 && refusal != ACQUIRE_REFUSED_OTHERWISE ? refuse(call, refusal) : call_end(call, r, &err);
}

/* --- lists ---------------------------------------------------------------------------------------------- */

/* Each is an answer of its own, and the last one must say so: it is held back until the next one is there. */
typedef struct List {
        Call *call;
        const char *pattern;
        char tenant[TENANT_NAME_MAX + 1]; /* whose volumes the caller may leave it away of; "": none's */
        sd_json_variant *last;
} List;

static bool name_matches(const List *list, const char *name) {
        return !list->pattern || fnmatch(list->pattern, name, FNM_NOESCAPE) == 0;
}

static int list_add(List *list, sd_json_variant *v) {
        int r = 0;

        if (list->last)
                r = sd_varlink_notify(list->call->link, list->last);
        sd_json_variant_unref(list->last);
        list->last = sd_json_variant_ref(v);
        return r < 0 ? r : 0;
}

static int list_end(List *list, const char *none) {
        int r = 0;

        if (list->last)
                r = sd_varlink_reply(list->call->link, list->last);
        else
                (void) sd_varlink_error(list->call->link, none, NULL); /* negative on purpose */
        list->last = sd_json_variant_unref(list->last);
        return r;
}

static int add_volume(VolumeEntry *entry, void *userdata) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        const VolumeSpec *spec = &entry->volume.spec;
        List *list = userdata;
        const char *name = VOLUME_REFERENCE(spec);
        const char *alias = streq(spec->tenant, list->tenant) && !streq(name, spec->name) ? spec->name : NULL;
        bool is_asked_for = spec->role == ROLE_VOLUME ||
                            (spec->role == ROLE_SNAPSHOT && list->pattern && strchr(list->pattern, '@'));
        int r;

        if (!is_asked_for || entry->volume.state != VOLUME_READY ||
            !policy_may_see_volume(&list->call->caller, entry) ||
            !(name_matches(list, name) || (alias && name_matches(list, alias))))
                return 0;
        r = sd_json_buildo(
                &v,
                SD_JSON_BUILD_PAIR_STRING("name", name),
                SD_JSON_BUILD_PAIR_CONDITION(!!alias, "aliases", SD_JSON_BUILD_ARRAY(SD_JSON_BUILD_STRING(alias))),
                SD_JSON_BUILD_PAIR_STRING("type", type_words[acquire_type_of(spec->kind, spec->fs)]),
                SD_JSON_BUILD_PAIR_BOOLEAN("readOnly", acquire_is_read_only(spec)),
                SD_JSON_BUILD_PAIR_CONDITION(spec->size > 0, "sizeBytes", SD_JSON_BUILD_UNSIGNED(spec->size)),
                SD_JSON_BUILD_PAIR_CONDITION(entry->used_is_known, "usedBytes", SD_JSON_BUILD_UNSIGNED(entry->used)));
        return r < 0 ? r : list_add(list, v);
}

static int volumes_reply(Call *call, Operation *op) {
        List list = { .call = call, .pattern = call->pattern };
        Manager *m = server_manager(call->server);
        int r = 0;

        if (policy_tenant(m, &call->caller, NULL, "name", list.tenant, &(Error) {}) < 0)
                *list.tenant = 0;
        for (PoolEntry *pool = m->registry.pools; pool && r >= 0; pool = pool->next)
                r = registry_each_volume(pool, add_volume, &list);
        if (r >= 0)
                return list_end(&list, API_STORAGE_PROVIDER ".NoSuchVolume");
        sd_json_variant_unref(list.last);
        return r;
}

/* Returns as call_begin(). */
static int list_begin(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags, const char *verb,
                      CallReply reply, Call **ret) {
        struct {
                const char *pattern;
        } p = {};
        static const sd_json_dispatch_field table[] = { { "matchName", SD_JSON_VARIANT_STRING,
                                                          sd_json_dispatch_const_string, offsetof(typeof(p), pattern),
                                                          SD_JSON_NULLABLE },
                                                        {} };
        _cleanup_(call_freep) Call *call = NULL;
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        if (r != 0)
                return r < 0 ? r : 0;
        r = call_begin(link, flags, NULL, verb, reply, &call);
        if (r <= 0)
                return r;
        if (p.pattern && strlen(p.pattern) > PATTERN_MAX)
                return sd_varlink_error_invalid_parameter_name(link, "matchName");
        call->fail = fail;
        call->pattern = p.pattern ? strdup(p.pattern) : NULL;
        if (p.pattern && !call->pattern)
                return -ENOMEM;
        *ret = TAKE_PTR(call);
        return 1;
}

static int vl_method_list_volumes(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                                  void *userdata) {
        Error err = {};
        Manager *m;
        Call *call;
        int r;

        r = list_begin(link, parameters, flags, "ls", volumes_reply, &call);
        if (r <= 0)
                return r;
        m = server_manager(call->server);
        r = call->caller.admin ? find_check(m, &err) : 0;
        Watcher watcher = call_watcher(call);
        watcher.on_progress = NULL; /* each answer is a volume */
        if (r >= 0)
                r = usage_look_at_pools(m, &call->caller, NULL, &watcher, &err);
        return call_end(call, r, &err);
}

static int vl_method_list_templates(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                                    void *userdata) {
        _cleanup_(call_freep) Call *call = NULL;
        List list = {};
        int r;

        r = list_begin(link, parameters, flags, "ls", NULL, &call);
        if (r <= 0 || !call)
                return r;
        list = (List) { .call = call, .pattern = call->pattern };
        for (size_t i = 0; i < n_acquire_templates && r >= 0; i++) {
                const AcquireTemplate *t = &acquire_templates[i];
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

                if (!name_matches(&list, t->name))
                        continue;
                r = sd_json_buildo(&v, SD_JSON_BUILD_PAIR_STRING("name", t->name),
                                   SD_JSON_BUILD_PAIR_STRING("type", type_words[acquire_type_of(KIND_BLOCK, t->fs)]));
                if (r >= 0)
                        r = list_add(&list, v);
        }
        if (r >= 0)
                return list_end(&list, API_STORAGE_PROVIDER ".NoSuchTemplate");
        sd_json_variant_unref(list.last);
        return r;
}

int front_storage_provider_bind(sd_varlink_server *server) {
        int r;

        r = sd_varlink_server_add_interface(server, &vl_interface_io_systemd_StorageProvider);
        return r < 0 ? r
                     : sd_varlink_server_bind_method_many(
                               server,
                               API_STORAGE_PROVIDER ".Acquire", vl_method_acquire,
                               API_STORAGE_PROVIDER ".ListVolumes", vl_method_list_volumes,
                               API_STORAGE_PROVIDER ".ListTemplates", vl_method_list_templates);
}
