#include <quarry/s3.h>

#include <quarry/text.h>

#include <endian.h>
#include <sys/socket.h>
#include <sys/uio.h>

typedef struct Head {
        uint32_t op, name_size, data_size; /* little-endian */
} Head;

/* What each may have. */
static const struct {
        uint32_t name_max, data_max;
} bounds[_S3_OP_MAX] = {
        [S3_OPEN] = { 0, sizeof(S3Opening) },
        [S3_PUT] = { S3_NAME_MAX, S3_OBJECT_MAX },
        [S3_GET] = { S3_NAME_MAX, 0 },
        [S3_HAS] = { S3_NAME_MAX, 0 },
        [S3_LIST] = { S3_NAME_MAX, 0 },
        [S3_REMOVE] = { S3_NAME_MAX, 0 },
        [S3_DONE] = { 1, S3_OBJECT_MAX },
        [S3_ITEM] = { S3_NAME_MAX, 0 },
        [S3_FAILED] = { S3_NAME_MAX, sizeof(((Error *) NULL)->text) + sizeof(((Error *) NULL)->hint) },
};

static bool is_within_bounds(uint32_t op, size_t name_size, size_t data_size) {
        return op > 0 && op < _S3_OP_MAX && name_size <= bounds[op].name_max && data_size <= bounds[op].data_max;
}

void s3_message_done(S3Message *message) {
        if (message->data)
                explicit_bzero(message->data, message->size);
        free(message->data);
        *message = (S3Message) {};
}

/* Not write(): a side that is gone is an error here, and no signal. */
static int send_all(int fd, const void *data, size_t size, int flags) {
        const char *p = data;

        while (size > 0) {
                ssize_t n = RET_NERRNO(send(fd, p, size, MSG_NOSIGNAL | flags));

                if (n == -EINTR)
                        continue;
                if (n < 0)
                        return (int) n;
                p += n;
                size -= (size_t) n;
        }
        return 0;
}

int s3_message_send(int fd, S3Op op, const char *name, const void *data, size_t size) {
        size_t name_size = name ? strlen(name) : 0;
        int r;

        if (!is_within_bounds(op, name_size, size))
                return -EINVAL;
        Head head = { htole32(op), htole32((uint32_t) name_size), htole32((uint32_t) size) };
        r = send_all(fd, &head, sizeof(head), name_size + size > 0 ? MSG_MORE : 0);
        if (r >= 0)
                r = send_all(fd, name, name_size, size > 0 ? MSG_MORE : 0);
        return r < 0 ? r : send_all(fd, data, size, 0);
}

/* Returns 1, or 0 if it ended before the first byte. */
static int read_whole(int fd, void *buf, size_t size) {
        size_t have = 0;

        while (have < size) {
                ssize_t n = RET_NERRNO(read(fd, (char *) buf + have, size - have));

                if (n == -EINTR)
                        continue;
                if (n < 0)
                        return (int) n;
                if (n == 0)
                        return have == 0 ? 0 : -EBADMSG;
                have += (size_t) n;
        }
        return 1;
}

int s3_message_receive(int fd, S3Message *ret) {
        _cleanup_(s3_message_done) S3Message m = {};
        Head head;
        int r;

        r = read_whole(fd, &head, sizeof(head));
        if (r <= 0)
                return r;
        size_t name_size = le32toh(head.name_size);
        m.op = le32toh(head.op);
        m.size = le32toh(head.data_size);
        if (!is_within_bounds(m.op, name_size, m.size))
                return -EBADMSG;
        m.data = malloc(m.size + 1);
        if (!m.data)
                return -ENOMEM;
        m.data[m.size] = 0;
        if ((name_size > 0 && read_whole(fd, m.name, name_size) <= 0) ||
            (m.size > 0 && read_whole(fd, m.data, m.size) <= 0))
                return -EBADMSG; /* also if it is too late */
        if (memchr(m.name, 0, name_size))
                return -EBADMSG;
        *ret = m;
        m = (S3Message) {};
        return 1;
}

int s3_error_send(int fd, const Error *err) {
        char data[sizeof(err->text) + sizeof(err->hint)];
        size_t text = strlen(err->text) + 1, hint = strlen(err->hint);

        memcpy(data, err->text, text);
        memcpy(data + text, err->hint, hint);
        return s3_message_send(fd, S3_FAILED, error_kind_name(err->kind), data, text + hint);
}

int s3_error_take(const S3Message *message, Error *err) {
        const char *text = (const char *) message->data;
        size_t length = strlen(text);
        ErrorKind kind = error_kind_from_name(message->name);
        int r;

        r = error_set(err, kind, 0, "%s", *text ? text : error_kind_sentence(kind));
        if (length < message->size)
                error_hint(err, "%s", text + length + 1);
        return r;
}
