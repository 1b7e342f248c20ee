/* A disk with a volatile write cache, for power cuts: disk SOCKET IMAGE SEED
 *
 * Serves IMAGE over NBD at a unix socket. What is written stays in memory until the client flushes, or is evicted when
 * the cache is full, as on a real disk. Discards and zeroes take effect at once.
 *
 * SIGUSR1 is the power cut: of the blocks not flushed a random part reaches the image, the rest is lost; it says how
 * many and ends. SIGTERM flushes all and ends. A client that goes away may come back: the cache stays. */

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md */
enum {
        HANDSHAKE_FIXED_NEWSTYLE = 1,
        HANDSHAKE_NO_ZEROES = 2,
        OPTION_EXPORT_NAME = 1,
        OPTION_ABORT = 2,
        OPTION_INFO = 6,
        OPTION_GO = 7,
        REPLY_ACK = 1,
        REPLY_INFO = 3,
        INFO_EXPORT = 0,
        FLAGS = 1 /* has flags */ | 4 /* flush */ | 8 /* FUA */ | 32 /* trim */ | 64 /* write zeroes */,
        COMMAND_READ = 0,
        COMMAND_WRITE = 1,
        COMMAND_DISCONNECT = 2,
        COMMAND_FLUSH = 3,
        COMMAND_TRIM = 4,
        COMMAND_WRITE_ZEROES = 6,
        COMMAND_FUA = 1,
};
#define MAGIC_SERVER UINT64_C(0x4e42444d41474943)
#define MAGIC_OPTION UINT64_C(0x49484156454f5054)
#define MAGIC_OPTION_REPLY UINT64_C(0x3e889045565a9)
#define MAGIC_REQUEST 0x25609513u
#define MAGIC_REPLY 0x67446698u
#define REPLY_UNSUPPORTED 0x80000001u

#define REQUEST_MAX (32u << 20)
#define BLOCK 4096u
#define CACHE_BLOCKS 16384u
#define NONE UINT32_MAX

typedef struct Block { /* an image block newer than the image */
        uint64_t number;
        uint32_t next; /* in its bucket */
        uint8_t data[BLOCK];
} Block;

static struct {
        int image, signals;
        uint64_t size, random;
        uint32_t n_blocks, buckets[CACHE_BLOCKS];
        Block blocks[CACHE_BLOCKS];
        uint8_t request[REQUEST_MAX];
} disk;

static void must(int result, const char *what) {
        if (result >= 0)
                return;
        fprintf(stderr, "disk: %s: %s\n", what, strerror(errno));
        exit(1);
}

static uint64_t random_next(void) { /* splitmix64 */
        uint64_t z = disk.random += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

/* --- the image ------------------------------------------------------------------------------------------ */

static void image_write(const Block *b) {
        must(pwrite(disk.image, b->data, BLOCK, (off_t) (b->number * BLOCK)) == BLOCK ? 0 : -1, "write");
}

static void image_read(uint64_t offset, uint8_t *data, size_t size) {
        must(pread(disk.image, data, size, (off_t) offset) == (ssize_t) size ? 0 : -1, "read");
}

/* --- the cache: the first n_blocks of blocks[] are in use ------------------------------------------------ */

/* What points at the block: its bucket, or the block before it. */
static uint32_t *cache_link(uint64_t number) {
        uint32_t *link = &disk.buckets[number * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (CACHE_BLOCKS - 1)];

        while (*link != NONE && disk.blocks[*link].number != number)
                link = &disk.blocks[*link].next;
        return link;
}

static Block *cache_find(uint64_t number) {
        uint32_t index = *cache_link(number);

        return index == NONE ? NULL : &disk.blocks[index];
}

static void cache_drop(Block *b) {
        Block *last = &disk.blocks[disk.n_blocks - 1];
        uint32_t index = (uint32_t) (b - disk.blocks);

        *cache_link(b->number) = b->next;
        if (b != last) {
                *cache_link(last->number) = index;
                *b = *last;
        }
        disk.n_blocks--;
}

/* The block, taken into the cache from the image if it is not there. */
static Block *cache_take(uint64_t number) {
        Block *b = cache_find(number);
        uint32_t *link;

        if (b)
                return b;
        if (disk.n_blocks == CACHE_BLOCKS) {
                b = &disk.blocks[random_next() % CACHE_BLOCKS];
                image_write(b);
                cache_drop(b);
        }
        link = cache_link(number);
        *link = disk.n_blocks;
        b = &disk.blocks[disk.n_blocks++];
        b->number = number;
        b->next = NONE;
        image_read(number * BLOCK, b->data, BLOCK);
        return b;
}

static void cache_flush(void) {
        while (disk.n_blocks > 0) {
                image_write(&disk.blocks[disk.n_blocks - 1]);
                cache_drop(&disk.blocks[disk.n_blocks - 1]);
        }
}

/* --- what is asked of a disk ----------------------------------------------------------------------------- */

/* How much of the next block lies in a range. */
static uint32_t part_of(uint64_t offset, uint32_t length) {
        uint32_t part = BLOCK - (uint32_t) (offset % BLOCK);

        return part < length ? part : length;
}

static void disk_read(uint64_t offset, uint32_t length, uint8_t *data) {
        image_read(offset, data, length);
        for (uint32_t part; length > 0; offset += part, data += part, length -= part) {
                Block *b = cache_find(offset / BLOCK);

                part = part_of(offset, length);
                if (b)
                        memcpy(data, b->data + offset % BLOCK, part);
        }
}

static void disk_write(uint64_t offset, uint32_t length, const uint8_t *data, bool through) {
        for (uint32_t part; length > 0; offset += part, data += part, length -= part) {
                Block *b = cache_take(offset / BLOCK);

                part = part_of(offset, length);
                memcpy(b->data + offset % BLOCK, data, part);
                if (through) {
                        image_write(b);
                        cache_drop(b);
                }
        }
}

static void disk_zero(uint64_t offset, uint32_t length) {
        must(fallocate(disk.image, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) offset, length), "discard");
        for (uint32_t part; length > 0; offset += part, length -= part) {
                Block *b = cache_find(offset / BLOCK);

                part = part_of(offset, length);
                if (b && part == BLOCK)
                        cache_drop(b);
                else if (b)
                        memset(b->data + offset % BLOCK, 0, part);
        }
}

/* --- the end -------------------------------------------------------------------------------------------- */

static void power_cut(void) {
        /* now nearly all is lost, now nearly nothing: both hurt in ways of their own */
        uint64_t share = random_next() % 101;
        uint32_t kept = 0;

        for (uint32_t i = 0; i < disk.n_blocks; i++)
                if (random_next() % 100 < share) {
                        image_write(&disk.blocks[i]);
                        kept++;
                }
        printf("%u of %u blocks that were not flushed reached the disk\n", kept, disk.n_blocks);
        exit(0);
}

/* Waits until there is something to read, unless a signal asks for the end. */
static void wait_for_input(int fd) {
        struct pollfd fds[] = { { disk.signals, POLLIN, 0 }, { fd, POLLIN, 0 } };
        struct signalfd_siginfo info;

        must(poll(fds, 2, -1), "poll");
        if (!fds[0].revents)
                return;
        must(read(disk.signals, &info, sizeof(info)) == sizeof(info) ? 0 : -1, "signal");
        if (info.ssi_signo == SIGUSR1)
                power_cut();
        cache_flush();
        exit(0);
}

/* --- NBD ------------------------------------------------------------------------------------------------ */

static bool receive(int fd, void *data, size_t size) {
        for (ssize_t n; size > 0; size -= (size_t) n, data = (uint8_t *) data + n) {
                wait_for_input(fd);
                n = read(fd, data, size);
                if (n <= 0)
                        return false;
        }
        return true;
}

static bool deliver(int fd, const void *data, size_t size) {
        for (ssize_t n; size > 0; size -= (size_t) n, data = (const uint8_t *) data + n) {
                n = send(fd, data, size, MSG_NOSIGNAL);
                if (n <= 0)
                        return false;
        }
        return true;
}

static bool option_reply(int fd, uint32_t option, uint32_t type, const void *data, uint32_t size) {
        struct __attribute__((packed)) {
                uint64_t magic;
                uint32_t option, type, size;
        } head = { htobe64(MAGIC_OPTION_REPLY), htobe32(option), htobe32(type), htobe32(size) };

        return deliver(fd, &head, sizeof(head)) && deliver(fd, data, size);
}

/* Any name is this disk's. */
static bool option_answer(int fd, uint32_t option, bool *ret_ready) {
        struct __attribute__((packed)) {
                uint16_t type;
                uint64_t size;
                uint16_t flags;
        } info = { htobe16(INFO_EXPORT), htobe64(disk.size), htobe16(FLAGS) };

        *ret_ready = option == OPTION_EXPORT_NAME || option == OPTION_GO;
        switch (option) {
        case OPTION_EXPORT_NAME:
                return deliver(fd, &info.size, sizeof(info) - sizeof(info.type));
        case OPTION_GO:
        case OPTION_INFO:
                return option_reply(fd, option, REPLY_INFO, &info, sizeof(info)) &&
                       option_reply(fd, option, REPLY_ACK, NULL, 0);
        case OPTION_ABORT:
                (void) option_reply(fd, option, REPLY_ACK, NULL, 0);
                return false;
        default:
                return option_reply(fd, option, REPLY_UNSUPPORTED, NULL, 0);
        }
}

static bool negotiate(int fd) {
        struct __attribute__((packed)) {
                uint64_t magic, option_magic;
                uint16_t flags;
        } hello = { htobe64(MAGIC_SERVER), htobe64(MAGIC_OPTION),
                    htobe16(HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES) };
        struct __attribute__((packed)) {
                uint64_t magic;
                uint32_t option, size;
        } head;
        uint32_t client_flags;
        bool ready = false;

        if (!deliver(fd, &hello, sizeof(hello)) || !receive(fd, &client_flags, sizeof(client_flags)))
                return false;
        while (!ready)
                if (!receive(fd, &head, sizeof(head)) || be64toh(head.magic) != MAGIC_OPTION ||
                    be32toh(head.size) > REQUEST_MAX || !receive(fd, disk.request, be32toh(head.size)) ||
                    !option_answer(fd, be32toh(head.option), &ready))
                        return false;
        return true;
}

static bool serve_request(int fd) {
        struct __attribute__((packed)) {
                uint32_t magic;
                uint16_t flags, type;
                uint64_t handle, offset;
                uint32_t length;
        } q;
        struct __attribute__((packed)) {
                uint32_t magic, error;
                uint64_t handle;
        } reply = { .magic = htobe32(MAGIC_REPLY) };
        uint32_t length, answer = 0;
        uint64_t offset;
        bool through;

        if (!receive(fd, &q, sizeof(q)) || be32toh(q.magic) != MAGIC_REQUEST)
                return false;
        reply.handle = q.handle;
        offset = be64toh(q.offset);
        length = be32toh(q.length);
        through = be16toh(q.flags) & COMMAND_FUA;
        if (be16toh(q.type) == COMMAND_WRITE && (length > REQUEST_MAX || !receive(fd, disk.request, length)))
                return false;
        if (offset > disk.size || length > disk.size - offset ||
            (be16toh(q.type) == COMMAND_READ && length > REQUEST_MAX))
                reply.error = htobe32(EINVAL);
        else
                switch (be16toh(q.type)) {
                case COMMAND_READ:
                        disk_read(offset, length, disk.request);
                        answer = length;
                        break;
                case COMMAND_WRITE:
                        disk_write(offset, length, disk.request, through);
                        break;
                case COMMAND_FLUSH:
                        cache_flush();
                        break;
                case COMMAND_TRIM:
                case COMMAND_WRITE_ZEROES:
                        disk_zero(offset, length);
                        break;
                case COMMAND_DISCONNECT:
                        return false;
                default:
                        reply.error = htobe32(EINVAL);
                }
        return deliver(fd, &reply, sizeof(reply)) && deliver(fd, disk.request, answer);
}

static void serve(int listener) {
        for (;;) {
                int fd;

                wait_for_input(listener);
                fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                must(fd, "accept");
                if (negotiate(fd))
                        while (serve_request(fd))
                                ;
                close(fd);
        }
}

int main(int argc, char **argv) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct stat st;
        sigset_t set;
        int listener;

        if (argc != 4 || strlen(argv[1]) >= sizeof(address.sun_path)) {
                fprintf(stderr, "usage: disk SOCKET IMAGE SEED\n");
                return 2;
        }
        disk.random = strtoull(argv[3], NULL, 10);
        memset(disk.buckets, 0xff, sizeof(disk.buckets));
        disk.image = open(argv[2], O_RDWR | O_CLOEXEC);
        must(disk.image, argv[2]);
        must(fstat(disk.image, &st), argv[2]);
        disk.size = (uint64_t) st.st_size / BLOCK * BLOCK;

        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        sigaddset(&set, SIGTERM);
        must(sigprocmask(SIG_BLOCK, &set, NULL), "signals");
        disk.signals = signalfd(-1, &set, SFD_CLOEXEC);
        must(disk.signals, "signals");

        strcpy(address.sun_path, argv[1]);
        (void) unlink(argv[1]);
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        must(listener, "socket");
        must(bind(listener, (const struct sockaddr *) &address, sizeof(address)), argv[1]);
        must(listen(listener, 4), argv[1]);
        serve(listener);
}
