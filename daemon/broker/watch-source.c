#include "broker/watch-source.h"

#include <quarry/text.h>

#include <limits.h>

void source_list_done(SourceList *sources) {
        free(sources->list);
        *sources = (SourceList) {};
}

int source_list_add(SourceList *sources, VolumeEntry *entry) {
        VolumeEntry **list = sources->list;

        if ((sources->n & (sources->n - 1)) == 0) { /* full: the room is a power of two */
                list = reallocarray(list, sources->n ? sources->n * 2 : 1, sizeof(*list));
                if (!list)
                        return -ENOMEM;
                sources->list = list;
        }
        list[sources->n++] = entry;
        return 0;
}

static int compare_sources(const void *a, const void *b) {
        const VolumeEntry *const *x = a, *const *y = b;

        return strcmp((*x)->volume.spec.source, (*y)->volume.spec.source);
}

void source_list_sort(SourceList *sources) {
        if (sources->n > 0)
                qsort(sources->list, sources->n, sizeof(*sources->list), compare_sources);
}

/* The first that may have this source. */
static size_t source_place(const SourceList *sources, const char *source) {
        size_t low = 0, high = sources->n;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (strcmp(sources->list[middle]->volume.spec.source, source) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* What of a path comes below another: "" for itself, else it begins with a slash; NULL: it lies elsewhere. */
static const char *path_below(const char *path, const char *base) {
        const char *rest = streq(base, "/") ? path : startswith(path, base);

        return rest && (!*rest || *rest == '/') ? (streq(rest, "/") ? "" : rest) : NULL;
}

/* A volume's own place tells by itself which it is, whatever happened to its source meanwhile. */
static VolumeEntry *of_standard_place(Registry *registry, const char *target) {
        const char *tenant = startswith(target, MOUNT_ROOT "/"), *slash = tenant ? strchr(tenant, '/') : NULL;
        char name_space[TENANT_NAME_MAX + 1];
        VolumeEntry *entry = NULL;

        if (slash && buffer_format(name_space, sizeof(name_space), "%.*s", (int) (slash - tenant), tenant))
                entry = registry_find_anywhere(registry, name_space, slash + 1);
        return entry && entry->volume.spec.kind == KIND_BIND ? entry : NULL;
}

int source_list_find(const SourceList *sources, Registry *registry, const MountList *mounts, const MountEntry *mount,
                     int (*on_found)(VolumeEntry *entry, const MountEntry *mount, void *userdata), void *userdata) {
        VolumeEntry *own;
        int r = 0;

        if (sources->n == 0 || streq(mount->root, "/")) /* a source is no mount point */
                return 0;
        if (startswith(mount->target, MOUNT_ROOT "/")) {
                own = of_standard_place(registry, mount->target);
                return own ? on_found(own, mount, userdata) : 0;
        }
        for (size_t i = 0; i < mounts->n && r >= 0; i++) {
                const MountEntry *m = &mounts->list[i];
                const char *below = m->device == mount->device ? path_below(mount->root, m->root) : NULL;
                char path[PATH_MAX];

                /* Where else the directory is to be seen. */
                if (!below || m == mount || startswith(m->target, MOUNT_ROOT "/") ||
                    !buffer_format(path, sizeof(path), "%s%s", streq(m->target, "/") && *below ? "" : m->target, below))
                        continue;
                for (size_t s = source_place(sources, path);
                     s < sources->n && r >= 0 && streq(sources->list[s]->volume.spec.source, path); s++)
                        r = on_found(sources->list[s], mount, userdata);
        }
        return r;
}
