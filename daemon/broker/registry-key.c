/* Which host keys volumes need. */

#include "broker/registry.h"

#include <quarry/log.h>
#include <quarry/text.h>

static KeyCount *find(const Registry *registry, const char *id) {
        for (size_t i = 0; i < registry->n_key_counts; i++)
                if (streq(registry->key_counts[i].id, id))
                        return &registry->key_counts[i];
        return NULL;
}

/* Those of host keys that nobody needs any more stay: there are few. */
int registry_count_key_more(Registry *registry, const Volume *volume) {
        KeyCount *found, *list;

        if (volume->spec.key_source != KEY_SOURCE_HOST)
                return 0;
        found = find(registry, volume->host_key);
        if (!found) {
                list = reallocarray(registry->key_counts, registry->n_key_counts + 1, sizeof(*list));
                if (!list)
                        return -ENOMEM;
                registry->key_counts = list;
                found = &list[registry->n_key_counts++];
                *found = (KeyCount) {};
                buffer_format(found->id, sizeof(found->id), "%s", volume->host_key);
        }
        found->n++;
        return 0;
}

void registry_count_key_less(Registry *registry, const Volume *volume) {
        KeyCount *found = volume->spec.key_source == KEY_SOURCE_HOST ? find(registry, volume->host_key) : NULL;

        if (found)
                found->n--;
}

size_t registry_count_key(const Registry *registry, const char *id) {
        const KeyCount *found = find(registry, id);

        return found ? found->n : 0;
}

size_t registry_count_keys(const Registry *registry) {
        size_t n = 0;

        for (size_t i = 0; i < registry->n_key_counts; i++)
                n += registry->key_counts[i].n;
        return n;
}

/* One that cannot be counted stays with what it had: a key is rather kept too long. */
void registry_set_key(Registry *registry, VolumeEntry *entry, KeySource source, const char *host_key) {
        Volume next = { .spec = { .key_source = source } };

        if (source == KEY_SOURCE_HOST)
                volume_set_host_key(&next, host_key);
        if (registry_count_key_more(registry, &next) < 0) {
                log_error(entry->volume.spec.name, "out of memory: its host key is not noted");
                return;
        }
        registry_count_key_less(registry, &entry->volume);
        entry->volume.spec.key_source = source;
        volume_set_host_key(&entry->volume, next.host_key);
}

static int needs_host_key(VolumeEntry *entry, void *userdata) {
        return entry->volume.spec.key_source == KEY_SOURCE_HOST && entry->volume.state != VOLUME_CREATING;
}

bool registry_needs_host_key(Registry *registry) {
        for (PoolEntry *pool = registry->pools; pool; pool = pool->next)
                if (registry_each_volume(pool, needs_host_key, NULL) > 0)
                        return true;
        return false;
}
