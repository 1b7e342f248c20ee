#include "work/lock.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <sys/stat.h>

#define LOCK_FOLDER "/run/quarry/lock"

/* Each pool has a file, in which bytes are locked: none must exist for that. */
enum {
        BYTE_POOL = 0, /* shared by those who need the pool to stay, exclusive for who makes it or takes it away */
        BYTE_OPEN = 1, /* one opens or extends the pool at a time */
        BYTE_MAPS = 2, /* one has a snapshot of its metadata, also while it is extended: that must not wait */
        BYTE_VOLUME = 3, /* this and the thin id: two volumes never have the same one */
        BYTE_OTHERS = BYTE_VOLUME + THIN_ID_MAX + 1, /* this and a part of the UUID, of what has no thin id */
};

typedef struct Need {
        short pool;     /* F_RDLCK, F_WRLCK */
        off_t second;   /* to be locked exclusively, too; 0 for none */
        bool images;    /* and the job's images and their origins */
        bool source;    /* and the job's source */
        int maps;       /* and BYTE_MAPS: F_OFD_SETLKW; F_OFD_SETLK for who comes again rather than waits */
} Need;

/* Two that have one byte only wait for each other. */
static off_t byte_of(const Volume *volume) {
        return volume->spec.kind == KIND_BLOCK ? BYTE_VOLUME + (off_t) volume->thin_id
                                               : BYTE_OTHERS + (off_t) (volume->uuid.qwords[0] >> 2);
}

/* Returns 0 if the job needs no lock: it only looks, or is about no pool in particular. */
static int need_of(const Job *job, Need *ret) {
        switch (job->verb) {
        case JOB_POOL_SCAN:
        case JOB_POOL_IMPORT:
        case JOB_POOL_USAGE:
        case JOB_HOST_AUDIT:
        case JOB_HOST_CALENDAR:
        case JOB_HOST_KEY_LOOK:
        case JOB_HOST_KEY_ROTATE:
        case JOB_HOST_KEY_RETIRE:
        case JOB_HOST_KEY_DERIVE:
        case JOB_POOL_WATCH:
        case JOB_VOLUME_USAGE:
        case _JOB_VERB_MAX:
                return 0;
        case JOB_POOL_CREATE:
        case JOB_POOL_REMOVE:
        case JOB_POOL_EXPORT:
        case JOB_POOL_FORGET:
        case JOB_POOL_CLOSE:
        case JOB_POOL_REPAIR:
                *ret = (Need) { F_WRLCK, 0 };
                return 1;
        case JOB_POOL_OPEN:
        case JOB_POOL_RECOVER:
        case JOB_POOL_EXTEND:
        case JOB_POOL_RELIEVE:
                *ret = (Need) { F_RDLCK, BYTE_OPEN };
                return 1;
        case JOB_POOL_CHECK:
                *ret = (Need) { F_RDLCK, BYTE_OPEN, .maps = F_OFD_SETLKW };
                return 1;
        case JOB_POOL_AUDIT:
        case JOB_VOLUME_DIFF:
                *ret = (Need) { .pool = F_RDLCK, .maps = F_OFD_SETLKW };
                return 1;
        case JOB_POOL_EXCLUSIVE:
        case JOB_POOL_UNION:
                *ret = (Need) { .pool = F_RDLCK, .maps = F_OFD_SETLK };
                return 1;
        case JOB_VOLUME_SNAPSHOT:
                *ret = (Need) { .pool = F_RDLCK, .images = true };
                return 1;
        case JOB_VOLUME_CLONE:
        case JOB_VOLUME_ROLLBACK:
        case JOB_VOLUME_RECEIVE:
                *ret = (Need) { F_RDLCK, BYTE_VOLUME + (off_t) job->volume.thin_id, .source = true };
                return 1;
        case JOB_VOLUME_DROP_SPARE:
        case JOB_VOLUME_CREATE:
        case JOB_VOLUME_RETIRE:
        case JOB_VOLUME_FREE:
        case JOB_VOLUME_CLAIM:
        case JOB_VOLUME_REMOVE:
        case JOB_VOLUME_MOUNT:
        case JOB_VOLUME_UMOUNT:
        case JOB_VOLUME_RELEASE:
        case JOB_VOLUME_TRIM:
        case JOB_VOLUME_CHECK:
        case JOB_VOLUME_SWEEP:
        case JOB_VOLUME_LIMIT:
        case JOB_VOLUME_OWN:
        case JOB_VOLUME_KEYS:
        case JOB_VOLUME_KEY_ADD:
        case JOB_VOLUME_KEY_REMOVE:
        case JOB_VOLUME_KEY_CHANGE:
        case JOB_VOLUME_KEY_WRAP:
        case JOB_VOLUME_SUSPEND:
        case JOB_VOLUME_UNLOCK:
        case JOB_VOLUME_HEADER_BACKUP:
        case JOB_VOLUME_HEADER_RESTORE:
        case JOB_VOLUME_RENAME:
        case JOB_VOLUME_GROW:
        case JOB_VOLUME_UNGROW:
        case JOB_VOLUME_SHRINK:
        case JOB_VOLUME_REMOUNT:
        case JOB_VOLUME_DEVICE:
        case JOB_VOLUME_ACCEPT:
                *ret = (Need) { F_RDLCK, byte_of(&job->volume) };
                return 1;
        }
        return 0;
}

static int lock_with(int fd, int command, short type, off_t byte) {
        struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
        int r;

        do
                r = RET_NERRNO(fcntl(fd, command, &lock));
        while (r == -EINTR);
        return r;
}

static int lock_byte(int fd, short type, off_t byte) {
        return lock_with(fd, F_OFD_SETLKW, type, byte);
}

static int compare_thin_ids(const void *a, const void *b) {
        uint32_t m = *(const uint32_t *) a, n = *(const uint32_t *) b;

        return m < n ? -1 : m > n;
}

/* In one order for all, so that no two wait for each other. The images too: who cleans up behind a broker that died
 * waits until they are made. */
static int lock_images(int fd, const Job *job) {
        uint32_t ids[2 * JOB_IMAGES_MAX] = {};
        size_t n = 0;
        int r = 0;

        for (size_t i = 0; i < job->n_images; i++) {
                ids[n++] = job->images[i].origin.thin_id;
                ids[n++] = job->images[i].thin_id;
        }
        qsort(ids, n, sizeof(*ids), compare_thin_ids);
        for (size_t i = 0; i < n && r >= 0; i++)
                r = lock_byte(fd, F_WRLCK, BYTE_VOLUME + (off_t) ids[i]);
        return r;
}

static int folder_make(const char *path, mode_t mode) {
        return mkdir(path, mode) < 0 && errno != EEXIST ? -errno : 0;
}

#define LOCK_PATH_MAX (sizeof(LOCK_FOLDER) + UUID_TEXT_MAX + 1)

static void path_format(sd_id128_t pool, char buf[static LOCK_PATH_MAX]) {
        char uuid[UUID_TEXT_MAX];

        buffer_format(buf, LOCK_PATH_MAX, LOCK_FOLDER "/%s", uuid_format(pool, uuid));
}

/* Who waits for it gets it, and then finds no such pool. */
void lock_forget(const Job *job) {
        char path[LOCK_PATH_MAX];

        path_format(job->pool, path);
        (void) unlink(path); /* one that stays hinders nobody */
}

int lock_try_maps(sd_id128_t pool, int *ret) {
        char path[LOCK_PATH_MAX];
        _cleanup_close_ int fd = -EBADF;
        int r;

        path_format(pool, path);
        fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        r = lock_with(fd, F_OFD_SETLK, F_WRLCK, BYTE_MAPS);
        if (r >= 0)
                *ret = TAKE_FD(fd);
        return r;
}

int lock_take(const Job *job, int *ret, Error *err) {
        char path[LOCK_PATH_MAX];
        _cleanup_close_ int fd = -EBADF;
        Need need;
        int r;

        if (need_of(job, &need) == 0) {
                *ret = -EBADF;
                return 0;
        }
        path_format(job->pool, path);
        r = folder_make("/run/quarry", 0755);
        if (r >= 0)
                r = folder_make(LOCK_FOLDER, 0700);
        if (r >= 0)
                fd = r = RET_NERRNO(open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (r >= 0)
                r = lock_byte(fd, need.pool, BYTE_POOL);
        if (r >= 0 && need.second > 0)
                r = lock_byte(fd, F_WRLCK, need.second);
        if (r >= 0 && need.source) /* who has the lock of a source waits for no other */
                r = lock_byte(fd, F_WRLCK, BYTE_VOLUME + (off_t) job->source.thin_id);
        if (r >= 0 && need.maps)
                r = lock_with(fd, need.maps, F_WRLCK, BYTE_MAPS);
        if (r == -EAGAIN)
                return error_set(err, ERROR_POOL_BUSY, EAGAIN,
                                 "cannot read the maps of the pool: another job is reading them; ask again later");
        /* Of a template several are copied at a time. */
        if (r >= 0 && job->verb == JOB_VOLUME_CREATE && !sd_id128_is_null(job->source.uuid))
                r = lock_byte(fd, F_RDLCK, BYTE_VOLUME + (off_t) job->source.thin_id);
        if (r >= 0 && need.images)
                r = lock_images(fd, job);
        if (r < 0)
                return error_errno(err, r, "cannot lock %s", path);
        *ret = TAKE_FD(fd);
        return 0;
}
