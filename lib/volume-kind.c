/* What each kind of volume is made from, and what has no meaning for it. */

#include <quarry/volume.h>

#include <quarry/text.h>

#include <inttypes.h>
#include <limits.h>

const char *volume_kind_phrase(VolumeKind kind) {
        return kind == KIND_BIND ? "a bind volume" : kind == KIND_TMPFS ? "a tmpfs volume" : "a block volume";
}

static uint64_t size_min(const VolumeSpec *spec) {
        return spec->fs == FILESYSTEM_XFS    ? XFS_SIZE_MIN
               : spec->fs == FILESYSTEM_EXT4 ? EXT4_SIZE_MIN
                                             : VOLUME_SIZE_MIN;
}

static int size_normalize(VolumeSpec *spec, Error *err) {
        char size[SIZE_TEXT_MAX], limit[SIZE_TEXT_MAX];

        if (spec->size == 0 && spec->kind == KIND_BIND)
                return 0;
        if (spec->size == 0 && spec->kind == KIND_TMPFS)
                return error_field(err, "sizeBytes", "a tmpfs volume needs a size: it takes memory");
        if (spec->size == 0)
                return error_field(err, "sizeBytes", "the size is missing, or 0");
        if (spec->size > VOLUME_SIZE_MAX)
                return error_field(err, "sizeBytes", "size %s is too large: a volume has at most %s",
                                   size_format_exact(spec->size, size), size_format(VOLUME_SIZE_MAX, limit));

        uint64_t rounded = (spec->size + MIB - 1) / MIB * MIB;
        if (rounded < size_min(spec))
                return error_field(err, "sizeBytes", "size %s is too small: %s needs at least %s",
                                   size_format_exact(spec->size, size), spec->fs == FILESYSTEM_XFS ? "XFS" : "ext4",
                                   size_format(size_min(spec), limit));
        spec->size = rounded;
        return 0;
}

static int source_check(const VolumeSpec *spec, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (spec->kind != KIND_BIND)
                return spec->source ? error_field(err, "source", "%s has no source: that is for bind volumes",
                                                  volume_kind_phrase(spec->kind))
                                    : 0;
        if (isempty(spec->source))
                return error_field(err, "source", "a bind volume needs its source, a directory of this host");
        if (streq(spec->source, "/"))
                return error_field(err, "source", "/ is all of the host, and no source of a volume");
        if (!path_is_plain(spec->source) || strlen(spec->source) >= PATH_MAX)
                return error_field(err, "source",
                                   "\"%s\" is no absolute path without \"//\", \".\", \"..\" and a \"/\" at its end",
                                   text_echo(spec->source, echo));
        return 0;
}

/* The files of a volume that is not on a block device are nobody's but theirs who made them. */
static int block_only_check(const VolumeSpec *spec, Error *err) {
        const char *phrase = volume_kind_phrase(spec->kind);

        if (spec->role != ROLE_VOLUME)
                return error_field(err, "kind", "%s has neither snapshots nor templates", phrase);
        if (spec->fs != FILESYSTEM_NONE)
                return error_field(err, "filesystem", "%s has no filesystem of its own choice", phrase);
        if (spec->key_source != KEY_SOURCE_NONE)
                return error_field(err, "keySource", "%s cannot be encrypted: it is not on a device of the pool",
                                   phrase);
        if (strv_length(spec->mkfs_options) > 0)
                return error_field(err, "mkfsOptions", "no filesystem is made for %s", phrase);
        if (spec->kind == KIND_BIND && (spec->uid != 0 || spec->gid != 0 || spec->mode != 0))
                return error_field(err,
                                   spec->uid != 0   ? "uid"
                                   : spec->gid != 0 ? "gid"
                                                    : "mode",
                                   "the source of a bind volume keeps its owner, group and mode");
        return 0;
}

int volume_spec_normalize_kind(VolumeSpec *spec, Error *err) {
        const char *phrase = volume_kind_phrase(spec->kind);
        int r;

        if (!volume_kind_to_string(spec->kind))
                return error_field(err, "kind", "the kind must be block, bind or tmpfs");
        r = source_check(spec, err);
        if (r >= 0 && spec->kind != KIND_BLOCK)
                r = block_only_check(spec, err);
        if (r < 0)
                return r;
        if (spec->read_only && spec->kind != KIND_BIND)
                return error_field(err, "readOnly", "%s would stay empty: only bind volumes are made read-only",
                                   phrase);
        if (spec->kind != KIND_TMPFS && (spec->inodes > 0 || spec->noswap))
                return error_field(err, spec->inodes > 0 ? "inodes" : "noswap", "%s has no such limit: tmpfs has",
                                   phrase);
        if (spec->inodes > 0 && (spec->inodes < TMPFS_INODES_MIN || spec->inodes > TMPFS_INODES_MAX))
                return error_field(err, "inodes",
                                   "%" PRIu64 " inodes are too %s: %" PRIu64 " to %" PRIu64 " can be asked for",
                                   spec->inodes, spec->inodes < TMPFS_INODES_MIN ? "few" : "many", TMPFS_INODES_MIN,
                                   TMPFS_INODES_MAX);
        return size_normalize(spec, err);
}
