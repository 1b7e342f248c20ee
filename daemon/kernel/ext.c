#include "kernel/ext.h"

#include <ext2fs/ext2fs.h>
#include <string.h>
#include <time.h>

/* libext2fs gives an errno, or a number of its own table. */
static int to_errno(errcode_t code) {
        switch (code) {
        case EXT2_ET_NO_MEMORY:
                return -ENOMEM;
        case EXT2_ET_FILE_NOT_FOUND:
                return -ENOENT;
        case EXT2_ET_BAD_MAGIC:
                return -EINVAL;
        case EXT2_ET_UNSUPP_FEATURE:
        case EXT2_ET_RO_UNSUPP_FEATURE:
                return -EOPNOTSUPP;
        default:
                return code < EXT2_ET_BASE ? (int) -code : -EIO;
        }
}

static void fs_freep(ext2_filsys *fs) {
        if (*fs)
                ext2fs_free(*fs);
}

/* Exclusively: not one that is mounted. */
static int fs_open(const char *device, int flags, ext2_filsys *ret) {
        return to_errno(ext2fs_open(device, EXT2_FLAG_RW | EXT2_FLAG_64BITS | EXT2_FLAG_EXCLUSIVE | flags, 0, 0,
                                    unix_io_manager, ret));
}

/* Checksums begin with the UUID, unless what they begin with is kept beside it, as it is by default: so it is kept.
 * (tune2fs -U would make all anew but those of the orphan file, and then it cannot be mounted any more.) Those of
 * groups alone, of older filesystems, know nothing but the UUID. */
static int checksums_keep(ext2_filsys fs) {
        struct ext2_super_block *super = fs->super;

        if (!(super->s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_METADATA_CSUM))
                return super->s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_GDT_CSUM ? -EOPNOTSUPP : 0;
        if (!(super->s_feature_incompat & EXT4_FEATURE_INCOMPAT_CSUM_SEED))
                super->s_checksum_seed = fs->csum_seed;
        super->s_feature_incompat |= EXT4_FEATURE_INCOMPAT_CSUM_SEED;
        return 0;
}

static int folder_own(ext2_filsys fs, const char *name, const ExtOwner *owner) {
        _cleanup_free_ struct ext2_inode *inode = NULL;
        int size = (int) EXT2_INODE_SIZE(fs->super);
        time_t now = time(NULL);
        ext2_ino_t number;
        errcode_t e;

        inode = calloc(1, (size_t) size);
        if (!inode)
                return -ENOMEM;
        e = ext2fs_lookup(fs, EXT2_ROOT_INO, name, (int) strlen(name), NULL, &number);
        if (e == 0)
                e = ext2fs_read_inode_full(fs, number, inode, size);
        if (e != 0)
                return to_errno(e);
        if (!LINUX_S_ISDIR(inode->i_mode))
                return -ENOTDIR;
        inode->i_mode = (uint16_t) (LINUX_S_IFDIR | (owner->mode & 07777));
        inode->i_uid = (uint16_t) owner->uid;
        ext2fs_set_i_uid_high(*inode, (uint16_t) (owner->uid >> 16));
        inode->i_gid = (uint16_t) owner->gid;
        ext2fs_set_i_gid_high(*inode, (uint16_t) (owner->gid >> 16));
        inode->i_atime = inode->i_mtime = inode->i_ctime = (uint32_t) now;
        return to_errno(ext2fs_write_inode_full(fs, number, inode, size));
}

int ext_identify(const char *device, sd_id128_t uuid, const char *folder, const ExtOwner *owner) {
        _cleanup_(fs_freep) ext2_filsys fs = NULL;
        errcode_t e;
        int r;

        r = fs_open(device, owner ? 0 : EXT2_FLAG_SUPER_ONLY, &fs);
        if (r < 0)
                return r;
        if (fs->super->s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER)
                return -EUCLEAN;
        r = checksums_keep(fs);
        if (r < 0)
                return r;
        r = owner ? folder_own(fs, folder, owner) : 0;
        if (r < 0)
                return r;
        memcpy(fs->super->s_uuid, uuid.bytes, sizeof(uuid.bytes));
        /* Nothing but it and that folder has changed: neither the copies of the superblock nor the groups. */
        fs->flags |= EXT2_FLAG_SUPER_ONLY | EXT2_FLAG_MASTER_SB_ONLY;
        ext2fs_mark_super_dirty(fs);
        /* Synced once: in what order it gets there does not matter, since nobody uses it yet. */
        e = ext2fs_flush2(fs, EXT2_FLAG_FLUSH_NO_SYNC);
        return to_errno(e != 0 ? e : io_channel_flush(fs->io));
}
