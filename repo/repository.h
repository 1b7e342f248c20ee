#pragma once

/* A repository of backups: in a store, encrypted, each piece of contents there once. Contents of volumes are cut into
 * chunks; SEGMENT_CHUNKS of them are a segment, whose names are an object themselves; a backup lists its segments (see
 * backup.h). So each backup is a full one, and costs what changed. */

#include "slot.h"
#include "store.h"

#include <quarry/error.h>

#include <systemd/sd-id128.h>

#define CHUNK_SIZE (UINT32_C(256) << 10) /* bytes */
#define SEGMENT_CHUNKS 4096u
#define SEGMENT_SIZE ((uint64_t) CHUNK_SIZE * SEGMENT_CHUNKS)

/* The name of contents: a hash that only who has the key can make; zeros for nothing but zeros. */
typedef struct ContentId {
        uint8_t bytes[32];
} ContentId;

#define CONTENT_ID_TEXT_MAX 65
char *content_id_format(const ContentId *id, char buf[static CONTENT_ID_TEXT_MAX]);
int content_id_parse(const char *text, ContentId *ret); /* -EINVAL */
bool content_id_is_zeros(const ContentId *id);
bool content_id_equal(const ContentId *a, const ContentId *b);

/* With what it is opened: host() gives the 32 bytes that the host key of this id (NULL: the present one) has for the
 * repository, and its id; NULL: not with that. passphrase: NULL: not with one; what is derived of it costs what these
 * say when a slot is made. */
typedef struct RepositoryKeySource {
        int (*host)(sd_id128_t repository, const char *id, uint8_t *ret, char *ret_id, Error *err);
        const char *passphrase;
        size_t passphrase_size;
        uint64_t argon2_memory, argon2_iterations;
} RepositoryKeySource;

typedef struct Repository Repository;

/* Both take the store, also on failure. make: refused if there is one already (ERROR_FAILED, EEXIST). open:
 * ERROR_WRONG_KEY; ERROR_FAILED (ENOENT) if there is none. */
int repository_make(Store *store, const RepositoryKeySource *keys, Repository **ret, Error *err);
int repository_open(Store *store, const RepositoryKeySource *keys, Repository **ret, Error *err);
void repository_free(Repository *r);
DEFINE_CLEANUP(Repository *, repository_free)

sd_id128_t repository_uuid(const Repository *r);
Store *repository_store(const Repository *r); /* the repository's */
/* The present host key of which it is known that it opens the repository, or "". */
const char *repository_host_key(const Repository *r);

/* Another key that opens it: of the host if by_host, else the passphrase. */
int repository_add_key(Repository *r, const RepositoryKeySource *keys, bool by_host, Error *err);

/* --- contents ---------------------------------------------------------------------------------------------- */

void repository_name_content(const Repository *r, const void *data, size_t size, ContentId *ret);

/* Puts what is not there yet; with prove also in the place of what is there and damaged. *ret_stored: bytes that it
 * took, 0 if it was there; may be NULL. */
int repository_put_content(Repository *r, const void *data, size_t size, bool prove, ContentId *ret,
                           uint64_t *ret_stored, Error *err);
/* Fills buf with just length bytes, and proves that they are what the id names. ERROR_FAILED (EBADMSG), also if
 * they are not there. */
int repository_get_content(Repository *r, const ContentId *id, void *buf, size_t length, Error *err);

/* The same in two halves: one asks the store, the other, which begins with piece, has the processor's work, and may be
 * done for several pieces at once; see crew.h. */
typedef struct Piece {
        uint64_t number;  /* the caller's: which one it is */
        ContentId id;
        uint8_t *data;    /* as it is in the volume, */
        size_t size;      /* so many bytes */
        uint8_t *sealed;  /* as it is in the store: malloc()ed, the piece's */
        size_t n_sealed;  /* 0: not sealed */
        Error failure;    /* of the second half */
} Piece;

/* Names what is in data, unless it is called `id` already, and seals it: what has that name is most likely there. */
void piece_seal(const Repository *r, Piece *p);
int repository_put_piece(Repository *r, Piece *p, bool prove, uint64_t *ret_stored, Error *err);

/* What id names, which is not nothing but zeros; piece_open() then fills data with just size bytes. */
int repository_fetch_piece(Repository *r, Piece *p, Error *err);
void piece_open(const Repository *r, Piece *p);

/* Proves that data is what id names: a failure with EBADMSG if not. */
void piece_check(const Repository *r, Piece *p);
/* What the second half came to. */
int piece_failure(const Piece *p, Error *err);

/* "data/..." */
void content_object_name(const ContentId *id, char buf[static STORE_NAME_MAX]);

/* --- what is not content: small, and by its name ------------------------------------------------------------ */

int repository_put_text(Repository *r, const char *name, const char *text, Error *err);
/* Returns 0 if there is none, 1 with a text that is the caller's. */
int repository_get_text(Repository *r, const char *name, char **ret, Error *err);
