#pragma once

/* What went wrong, as an object that crosses the worker's border and the client's border whole.
 *
 * Everything above lib and kernel takes an `Error *err` last. On failure it is filled and a negative
 * errno is returned; on success it is left alone. */

#include <quarry/base.h>

#include <systemd/sd-json.h>

/* Exit codes of the command line, see quarry(1). */
enum {
        EXIT_DONE = 0,
        EXIT_FAILED = 1,
        EXIT_USAGE = 2,
        EXIT_NOT_FOUND = 3,
        EXIT_IN_USE = 4,
        EXIT_SPACE = 5,
        EXIT_DENIED = 6,
        EXIT_EXISTS = 7,
        EXIT_UNREACHABLE = 8,
};

/* THE table: kind, last part of the Varlink error's name, errno for callers that only know errno, exit code
 * of the command line, status of an HTTP answer, sentence for a client that got no text. */
#define ERROR_KINDS(X)                                                                                        \
        X(FAILED, Failed, EIO, EXIT_FAILED, 500, "The operation failed")                                      \
        X(BAD_REQUEST, BadRequest, EINVAL, EXIT_USAGE, 400, "A field of the request breaks a rule")           \
        X(NOT_SUPPORTED, NotSupported, EOPNOTSUPP, EXIT_FAILED, 501, "Not supported")                         \
        X(PERMISSION_DENIED, PermissionDenied, EPERM, EXIT_DENIED, 403, "Permission denied")                  \
        X(NO_SUCH_VOLUME, NoSuchVolume, ENOENT, EXIT_NOT_FOUND, 404, "No such volume")                        \
        X(NO_SUCH_POOL, NoSuchPool, ENXIO, EXIT_NOT_FOUND, 404, "No such pool")                               \
        X(NO_SUCH_TENANT, NoSuchTenant, ESRCH, EXIT_NOT_FOUND, 404, "No such tenant")                         \
        X(NO_POOL, NoPool, ENXIO, EXIT_NOT_FOUND, 404, "There is no pool yet")                                \
        X(VOLUME_EXISTS, VolumeExists, EEXIST, EXIT_EXISTS, 409, "The volume exists already")                 \
        X(POOL_EXISTS, PoolExists, EEXIST, EXIT_EXISTS, 409, "The pool exists already")                       \
        X(TENANT_EXISTS, TenantExists, EEXIST, EXIT_EXISTS, 409, "The tenant exists already")                 \
        X(VOLUME_BUSY, VolumeBusy, EBUSY, EXIT_IN_USE, 409, "The volume is in use")                           \
        X(POOL_BUSY, PoolBusy, EBUSY, EXIT_IN_USE, 409, "The pool is in use")                                 \
        X(TENANT_BUSY, TenantBusy, EBUSY, EXIT_IN_USE, 409, "The tenant owns volumes")                        \
        X(DEVICE_UNUSABLE, DeviceUnusable, EBUSY, EXIT_FAILED, 409, "The device cannot be used")              \
        X(NO_SPACE, NoSpace, ENOSPC, EXIT_SPACE, 507, "Not enough space")                                     \
        X(QUOTA_EXCEEDED, QuotaExceeded, EDQUOT, EXIT_SPACE, 507, "A limit of the tenant would be exceeded")  \
        X(KEY_REQUIRED, KeyRequired, ENOKEY, EXIT_DENIED, 403, "The volume needs its passphrase")             \
        X(VOLUME_LOCKED, VolumeLocked, ENOKEY, EXIT_DENIED, 423, "The volume is locked")                      \
        X(WRONG_KEY, WrongKey, EKEYREJECTED, EXIT_DENIED, 403, "The key does not open the volume")            \
        X(VOLUME_BROKEN, VolumeBroken, EUCLEAN, EXIT_FAILED, 500, "The volume needs repair")                  \
        X(POOL_UNAVAILABLE, PoolUnavailable, ENODEV, EXIT_FAILED, 503, "The pool is not active")              \
        X(WORKER_DIED, WorkerDied, ECONNRESET, EXIT_FAILED, 500, "The worker ended in the middle of the job") \
        X(OVERLOADED, Overloaded, EBUSY, EXIT_FAILED, 503, "Too many requests at once")

typedef enum ErrorKind {
        ERROR_NONE = 0,
#define ERROR_ENUM(kind, name, number, code, http, sentence) ERROR_##kind,
        ERROR_KINDS(ERROR_ENUM)
#undef ERROR_ENUM
                _ERROR_KIND_MAX,
} ErrorKind;

typedef struct Error {
        ErrorKind kind;
        int number;      /* errno beneath, positive; 0 if there is none */
        bool undo_failed; /* the job left something behind: text says what */
        char step[32];   /* step of the job that failed, or empty */
        char field[32];  /* for ERROR_BAD_REQUEST: the request's field, or empty */
        char text[512];  /* one sentence: what and why */
        char hint[256];  /* what to run next, or empty */
} Error;

/* Fills err (which may be NULL) and returns a negative errno: -number, or the kind's own. */
int error_set(Error *err, ErrorKind kind, int number, const char *format, ...) _printf_(4, 5);

/* ERROR_FAILED with ": strerror(number)" appended; number may be given positive or negative. */
int error_errno(Error *err, int number, const char *format, ...) _printf_(3, 4);

/* ERROR_BAD_REQUEST for one field of the request. */
int error_field(Error *err, const char *field, const char *format, ...) _printf_(3, 4);

int error_oom(Error *err);

/* What to run next. Formats into err->hint. */
void error_hint(Error *err, const char *format, ...) _printf_(2, 3);

/* Puts context before the text: "context: text". */
void error_prefix(Error *err, const char *format, ...) _printf_(2, 3);

/* The negative errno that a function with this error returns. */
int error_code(const Error *err);

/* The table's columns. error_kind_name() is the last part of the Varlink error name ("NoSuchVolume");
 * error_kind_from_name() accepts it with or without the interface before it, ERROR_NONE if unknown. */
const char *error_kind_name(ErrorKind kind);
ErrorKind error_kind_from_name(const char *name);
int error_kind_exit_code(ErrorKind kind);
unsigned error_kind_http_status(ErrorKind kind);
const char *error_kind_sentence(ErrorKind kind);

/* {"message","hint","field","step","errorNumber","undoFailed"}; empty members are left out. The kind travels as the
 * Varlink error's name. Returns >= 0 or -errno. */
int error_to_json(const Error *err, sd_json_variant **ret);

/* The reverse, for what a peer sent: never fails, truncates what is too long. */
void error_from_json(Error *err, const char *name, sd_json_variant *parameters);
