#include "broker/transfer.h"

#include "broker/space.h"
#include "broker/volume.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void transfer_give_up(Operation *op, const Error *err) {
        op->failure = *err;
        volume_clean_up(op);
}

static void transfer_end(Operation *op) {
        op->transfer = sd_event_source_disable_unref(op->transfer);
        (void) shutdown(op->transfer_fd, SHUT_RDWR); /* their end may have been kept by who passed it */
        close(TAKE_FD(op->transfer_fd));
}

static int on_transfer(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Operation *op = userdata;
        Error err = {};
        char byte;
        ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

        if (n < 0 && errno == ENOTSOCK)
                n = read(fd, &byte, 1);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        transfer_end(op);
        if (n == 1) {
                op->then(op, NULL);
                return 0;
        }
        error_set(&err, ERROR_FAILED, ECANCELED, "whoever wrote it went away before all was there");
        transfer_give_up(op, &err);
        return 0;
}

int transfer_begin(Operation *op, void (*then)(Operation *op, const Error *err)) {
        op->then = then;
        return sd_event_add_io(op->manager->event, &op->transfer, op->transfer_fd, EPOLLIN, on_transfer, op);
}

/* Nothing stops who writes to a device, as what writes to a filesystem is stopped; and who fills a volume would get no
 * further: so they have to go. */
static int stop_one(VolumeEntry *entry, void *userdata) {
        Operation *op = entry->lane.running;
        Error err = {};

        if (!op || !op->transfer || op->transfer_fd < 0)
                return 0;
        transfer_end(op);
        (void) space_check_create(entry->pool, &err);
        transfer_give_up(op, &err);
        return 0;
}

void transfer_stop(PoolEntry *pool) {
        registry_each_volume(pool, stop_one, NULL);
}
