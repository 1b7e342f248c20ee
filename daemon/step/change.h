#pragma once

/* Whether a volume holds what it held earlier, without reading it. With an image of a volume it is noted, in /run, by a
 * random name, what the volume held then, and how it is to be known again: that it is closed (who opens it forgets the
 * note), or how much was written to its device. What is not known counts as changed. */

#include <quarry/job.h>

/* What was written to the thin device of a volume, if it is open. */
typedef struct ChangeMark {
        bool open;
        uint64_t diskseq; /* two devices never have the same, until the next boot */
        uint64_t writes, sectors;
} ChangeMark;

typedef struct Change {
        sd_id128_t content; /* what it is noted to hold and still does; null: not known */
        bool noted; /* there is a note, of whatever */
        ChangeMark before, frozen;
} Change;

/* When what was written is on its way to the disk. */
void change_look(const Volume *volume, Change *ret);
/* While the volume is frozen, and its image is made. */
void change_look_frozen(const Volume *volume, Change *change);
/* Behind the thaw. Notes what the image holds, and returns its name; null: it could not be noted. */
sd_id128_t change_note(const Volume *volume, const Change *change);

/* From now on it is not known. */
int change_forget(sd_id128_t volume);
