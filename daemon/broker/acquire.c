#include "broker/acquire.h"

#include "broker/find.h"
#include "broker/policy.h"
#include "broker/volume.h"

#include <quarry/text.h>

const AcquireTemplate acquire_templates[] = {
        { "ext4", FILESYSTEM_EXT4, KEY_SOURCE_NONE }, { "ext4-encrypted", FILESYSTEM_EXT4, KEY_SOURCE_HOST },
        { "raw", FILESYSTEM_NONE, KEY_SOURCE_NONE },  { "raw-encrypted", FILESYSTEM_NONE, KEY_SOURCE_HOST },
        { "xfs", FILESYSTEM_XFS, KEY_SOURCE_NONE },   { "xfs-encrypted", FILESYSTEM_XFS, KEY_SOURCE_HOST },
};
const size_t n_acquire_templates = ELEMENTSOF(acquire_templates);

AcquireType acquire_type_of(VolumeKind kind, Filesystem fs) {
        return kind == KIND_BLOCK && fs == FILESYSTEM_NONE ? ACQUIRE_DEVICE : ACQUIRE_FOLDER;
}

bool acquire_is_read_only(const VolumeSpec *spec) {
        return spec->role == ROLE_SNAPSHOT || spec->read_only;
}

static const AcquireTemplate *template_find(const char *name) {
        for (size_t i = 0; i < n_acquire_templates; i++)
                if (streq(acquire_templates[i].name, name))
                        return &acquire_templates[i];
        return NULL;
}

_printf_(4, 5) static int refuse(AcquireRefusal *ret, AcquireRefusal refusal, Error *err, const char *format, ...) {
        char text[sizeof(err->text)];
        va_list args;

        va_start(args, format);
        (void) vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        *ret = refusal;
        return error_set(err, ERROR_NOT_SUPPORTED, 0, "%s", text);
}

/* --- one that is there ------------------------------------------------------------------------------------ */

static int open_folder(Manager *m, const Caller *caller, VolumeEntry *entry, bool read_only, const Watcher *watcher,
                       Error *err) {
        MountSpec mount = {};

        if (read_only)
                mount.options = mount.said = MOUNT_READ_ONLY;
        return volume_mount(m, caller, entry, &mount, true, -EBADF, -EBADF, watcher, err);
}

static int open_volume(Manager *m, const Caller *caller, VolumeEntry *entry, const AcquireRequest *request,
                       const Watcher *watcher, AcquireRefusal *ret_refusal, Error *err) {
        const VolumeSpec *spec = &entry->volume.spec;
        AcquireType usual = acquire_type_of(spec->kind, spec->fs);
        AcquireType type = request->type == ACQUIRE_EITHER ? usual : request->type;
        bool only_read = acquire_is_read_only(spec);

        if (type == ACQUIRE_FOLDER && usual == ACQUIRE_DEVICE)
                return refuse(ret_refusal, ACQUIRE_WRONG_TYPE, err, "volume %s has no filesystem", spec->name);
        if (type == ACQUIRE_DEVICE && spec->kind != KIND_BLOCK)
                return refuse(ret_refusal, ACQUIRE_WRONG_TYPE, err, "volume %s is %s, without a device", spec->name,
                              volume_kind_phrase(spec->kind));
        if (only_read && request->access == ACQUIRE_WRITABLE)
                return refuse(ret_refusal, ACQUIRE_READ_ONLY_VOLUME, err, "%s can only be read", spec->name);
        only_read = only_read || request->access == ACQUIRE_READ_ONLY;
        return type == ACQUIRE_FOLDER ? open_folder(m, caller, entry, only_read, watcher, err)
                                      : volume_give_device(m, caller, entry, only_read, watcher, err);
}

/* --- one that is made ------------------------------------------------------------------------------------- */

typedef struct Acquisition {
        Manager *manager;
        Caller caller;          /* without groups, */
        AcquireRequest request; /* without names: what is made needs neither */
        Watcher watcher;
} Acquisition;

static void on_progress(const char *step, unsigned position, unsigned total, void *userdata) {
        const Acquisition *a = userdata;

        a->watcher.on_progress(step, position, total, a->watcher.userdata);
}

static void on_created(Operation *op, const Error *err, void *userdata) {
        _cleanup_free_ Acquisition *a = userdata;
        AcquireRefusal refusal;
        Error failure = {};

        if (!err && open_volume(a->manager, &a->caller, op->volume, &a->request, &a->watcher, &refusal, &failure) >= 0)
                return;
        a->watcher.on_done(op, err ?: &failure, a->watcher.userdata);
}

static int spec_make(Manager *m, const Caller *caller, const AcquireRequest *request, const AcquireTemplate *template,
                     VolumeSpec *ret, Error *err) {
        Reference ref;
        int r;

        r = reference_parse(request->name, "volume", &ref, err);
        if (r >= 0)
                r = policy_tenant(m, caller, ref.tenant, "volume", ret->tenant, err);
        if (r < 0)
                return r;
        buffer_format(ret->pool, sizeof(ret->pool), "%s", ref.pool);
        buffer_format(ret->name, sizeof(ret->name), "%s", ref.name);
        ret->fs = template->fs;
        ret->key_source = template->key_source;
        ret->size = request->size;
        return volume_complete_spec(caller, SAID_FS, ret, err);
}

/* A device may have a filesystem on it, a directory must. */
static int template_choose(const Caller *caller, const AcquireRequest *request, const AcquireTemplate **ret,
                           AcquireRefusal *ret_refusal, Error *err) {
        const AcquireTemplate *template = template_find(!isempty(request->template)       ? request->template
                                                        : request->type == ACQUIRE_DEVICE ? "raw"
                                                                                          : "ext4");

        if (!template || (template->fs == FILESYSTEM_NONE && request->type == ACQUIRE_FOLDER))
                return refuse(ret_refusal, ACQUIRE_BAD_TEMPLATE, err,
                              "a volume made by template %s has no filesystem, and is no directory", request->template);
        *ret = template;
        return request->type == ACQUIRE_DEVICE ? volume_check_device_of(caller, template->fs, request->name, err) : 0;
}

static int create(Manager *m, const Caller *caller, const AcquireRequest *request, const Watcher *watcher,
                  AcquireRefusal *ret_refusal, Error *err) {
        VolumeSpec spec = VOLUME_SPEC_DEFAULT;
        const AcquireTemplate *template = NULL;
        VolumeEntry *existing = NULL;
        Acquisition *a;
        int r;

        r = template_choose(caller, request, &template, ret_refusal, err);
        if (r >= 0 && request->size == ACQUIRE_SIZE_UNSET)
                r = refuse(ret_refusal, ACQUIRE_SIZE_REQUIRED, err, "volume %s is not there, and no size was given",
                           request->name);
        if (r >= 0 && template)
                r = spec_make(m, caller, request, template, &spec, err);
        if (r < 0)
                return r;
        a = malloc(sizeof(*a));
        if (!a)
                return error_oom(err);
        *a = (Acquisition) { .manager = m, .caller = *caller, .request = *request, .watcher = *watcher };
        a->caller.groups = NULL;
        a->caller.n_groups = 0;
        a->request.name = a->request.template = NULL;
        r = volume_create(m, caller, &spec, -EBADF, false,
                          &(Watcher) { .on_progress = watcher->on_progress ? on_progress : NULL,
                                       .on_done = on_created,
                                       .userdata = a },
                          &existing, err);
        if (r < 0)
                free(a);
        return r;
}

/* --- what is asked for ------------------------------------------------------------------------------------ */

static int request_judge(const AcquireRequest *request, AcquireRefusal *ret_refusal, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (request->type == ACQUIRE_FILE)
                return refuse(ret_refusal, ACQUIRE_TYPE_NOT_SUPPORTED, err, "no volume is a regular file");
        if (!isempty(request->template) && !template_find(request->template))
                return refuse(ret_refusal, ACQUIRE_NO_SUCH_TEMPLATE, err, "there is no template %s",
                              text_echo(request->template, echo));
        if (request->access == ACQUIRE_READ_ONLY && request->mode == ACQUIRE_NEW)
                return error_field(err, "readOnly", "what is only to be read is not made");
        return 0;
}

/* Who asks for one whose create is being undone waits for that, and asks anew. */
static bool is_being_undone(const VolumeEntry *entry) {
        return entry->volume.state == VOLUME_CREATING && entry->lane.running && entry->lane.running->again;
}

int acquire(Manager *m, const Caller *caller, const AcquireRequest *request, const Watcher *watcher,
            AcquireRefusal *ret_refusal, Error *err) {
        bool may_create = request->mode != ACQUIRE_OPEN && request->access != ACQUIRE_READ_ONLY;
        VolumeEntry *entry;
        Error missing = {};
        int r;

        *ret_refusal = ACQUIRE_REFUSED_OTHERWISE;
        r = request_judge(request, ret_refusal, err);
        if (r < 0)
                return r;
        r = find_volume(m, caller, request->name, &entry, &missing);
        if (r >= 0 && !(may_create && is_being_undone(entry)))
                return request->mode == ACQUIRE_NEW ? error_set(err, ERROR_VOLUME_EXISTS, EEXIST,
                                                                "volume %s exists already", entry->volume.spec.name)
                                                    : open_volume(m, caller, entry, request, watcher, ret_refusal, err);
        /* No snapshot is made by being opened. */
        if (r >= 0 || (missing.kind == ERROR_NO_SUCH_VOLUME && may_create && !strchr(request->name, '@')))
                return create(m, caller, request, watcher, ret_refusal, err);
        *err = missing;
        return r;
}
