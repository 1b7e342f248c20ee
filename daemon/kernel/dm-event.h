#pragma once

/* Being told of device-mapper's events: a pool reaches its low-water mark, runs full, gets space again. They wake
 * poll(2) on a descriptor that is armed; which device it was, nobody says. Return >= 0 or -errno. */

int dm_event_open(void);   /* the descriptor */
int dm_event_arm(int fd);  /* events from now on wake poll(2), with POLLIN; again after each */
