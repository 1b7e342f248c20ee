#include "step/change.h"

#include "kernel/dm.h"
#include "kernel/sysfs.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define NOTES "/run/quarry/contents"
#define NOTE_MAX 256
#define LOG_SECTOR_MAX UINT64_C(8) /* of 512 bytes, in one of the log */
#define NOTE_PATH_MAX (sizeof(NOTES) + UUID_TEXT_MAX)

static void path_format(sd_id128_t volume, char buf[static NOTE_PATH_MAX]) {
        char uuid[UUID_TEXT_MAX];

        buffer_format(buf, NOTE_PATH_MAX, NOTES "/%s", uuid_format(volume, uuid));
}

int change_forget(sd_id128_t volume) {
        char path[NOTE_PATH_MAX];

        path_format(volume, path);
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* --- what was written ----------------------------------------------------------------------------------- */

/* What a filesystem discards it has no contents in; without one that is as good as written. */
static int mark_take(const Volume *volume, ChangeMark *ret) {
        char name[KERNEL_NAME_MAX], stat[SYSFS_VALUE_MAX], diskseq[SYSFS_VALUE_MAX];
        ChangeMark mark = { .open = true };
        uint64_t discards, discarded;
        DmInfo info;
        int r;

        volume_thin_name(volume->uuid, name);
        r = dm_info(name, &info);
        if (r == -ENXIO) {
                *ret = (ChangeMark) {};
                return 0;
        }
        if (r >= 0)
                r = sysfs_read(info.device, "stat", stat);
        if (r >= 0)
                r = sysfs_read(info.device, "diskseq", diskseq);
        if (r < 0)
                return r;
        if (sscanf(stat, "%*u %*u %*u %*u %" SCNu64 " %*u %" SCNu64 " %*u %*u %*u %*u %" SCNu64 " %*u %" SCNu64,
                   &mark.writes, &mark.sectors, &discards, &discarded) != 4 ||
            number_parse(diskseq, &mark.diskseq) < 0)
                return -EBADMSG;
        if (volume->spec.fs == FILESYSTEM_NONE) {
                mark.writes += discards;
                mark.sectors += discarded;
        }
        *ret = mark;
        return 0;
}

/* Whether nothing was written between the two, or that, at most: so many writes, of so many sectors. */
static bool is_still(const ChangeMark *before, const ChangeMark *after, uint64_t writes, uint64_t sectors) {
        return before->open == after->open && before->diskseq == after->diskseq &&
               (after->sectors == before->sectors ||
                (after->sectors - before->sectors <= sectors && after->writes - before->writes <= writes));
}

/* Being thawed ext4 writes its superblock, in one go, and XFS nothing. */
static bool is_still_behind(const Volume *volume, const ChangeMark *frozen, const ChangeMark *after) {
        return is_still(frozen, after, volume->spec.fs == FILESYSTEM_EXT4 ? 1 : 0, UINT64_MAX);
}

/* Being frozen ext4 writes the same, behind a flush, which counts as a write of nothing; XFS three sectors of its
 * log. */
static bool is_still_before(const Volume *volume, const Change *change, const ChangeMark *after) {
        if (volume->spec.fs == FILESYSTEM_XFS)
                return is_still(&change->before, &change->frozen, 3, 3 * LOG_SECTOR_MAX);
        return is_still(&change->before, &change->frozen, 2, after->sectors - change->frozen.sectors);
}

/* --- notes ------------------------------------------------------------------------------------------------ */

/* The thin id: another device may take the place of a volume's. */
static void note_format(const Volume *volume, sd_id128_t content, const ChangeMark *mark, char buf[static NOTE_MAX]) {
        buffer_format(buf, NOTE_MAX, SD_ID128_FORMAT_STR " %u %d %" PRIu64 " %" PRIu64, SD_ID128_FORMAT_VAL(content),
                      volume->thin_id, mark->open, mark->diskseq, mark->sectors);
}

void change_look(const Volume *volume, Change *ret) {
        _cleanup_free_ char *text = NULL;
        char path[NOTE_PATH_MAX], expected[NOTE_MAX], word[SD_ID128_STRING_MAX] = "";
        sd_id128_t content;
        Change change = {};

        path_format(volume->uuid, path);
        if (file_read(AT_FDCWD, path, NOTE_MAX - 1, &text, NULL) < 0 || mark_take(volume, &change.before) < 0) {
                *ret = (Change) { .noted = text };
                return;
        }
        change.noted = true;
        buffer_format(word, sizeof(word), "%.*s", (int) strcspn(text, " "), text);
        if (sd_id128_from_string(word, &content) >= 0) {
                note_format(volume, content, &change.before, expected);
                if (streq(text, expected))
                        change.content = content;
        }
        *ret = change;
}

void change_look_frozen(const Volume *volume, Change *change) {
        if (mark_take(volume, &change->frozen) < 0)
                change->frozen = (ChangeMark) { .open = true }; /* no device has this diskseq */
}

static int note_write(const Volume *volume, sd_id128_t content, const ChangeMark *mark) {
        char path[NOTE_PATH_MAX], text[NOTE_MAX];
        _cleanup_close_ int fd = -EBADF;
        size_t n;

        if (mkdir(NOTES, 0700) < 0 && errno != EEXIST)
                return -errno;
        path_format(volume->uuid, path);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        note_format(volume, content, mark, text);
        n = strlen(text);
        return write(fd, text, n) == (ssize_t) n ? 0 : -EIO;
}

sd_id128_t change_note(const Volume *volume, const Change *change) {
        sd_id128_t content = change->content;
        ChangeMark after;

        if (mark_take(volume, &after) < 0 || !is_still_behind(volume, &change->frozen, &after)) {
                (void) change_forget(volume->uuid);
                return SD_ID128_NULL;
        }
        if ((sd_id128_is_null(content) || !is_still_before(volume, change, &after)) && sd_id128_randomize(&content) < 0)
                content = SD_ID128_NULL;
        if (sd_id128_is_null(content) || note_write(volume, content, &after) < 0) {
                (void) change_forget(volume->uuid);
                return SD_ID128_NULL;
        }
        return content;
}
