#include "kernel/dm-event.h"

#include <quarry/base.h>

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>

#define ARM_POLL_MINOR 37u /* the interface version that has it: every kernel with dm-thin as we need it */

int dm_event_open(void) {
        return RET_NERRNO(open("/dev/mapper/control", O_RDWR | O_CLOEXEC));
}

int dm_event_arm(int fd) {
        struct dm_ioctl request = { .version = { DM_VERSION_MAJOR, ARM_POLL_MINOR, 0 }, .data_size = sizeof(request) };

        return RET_NERRNO(ioctl(fd, DM_DEV_ARM_POLL, &request));
}
