#include "image.h"

#include <quarry/text.h>

#include <string.h>

/* What is none of what is taken. A hint for whole disks, one for formats of virtual machines. */
#define DISK_HINT                                                                                                 \
        "losetup --find --show --partscan FILE; and --from one of the partitions that it has then; or --fs none " \
        "takes all of it as a block device"
#define CONVERT_HINT "qemu-img convert -O raw FILE RAW; and --from RAW"

static const struct {
        size_t at;
        const char *bytes;
        size_t size;
        const char *what, *hint;
} others[] = {
#define SIGNATURE(bytes) bytes, sizeof(bytes) - 1
        { 0, SIGNATURE("QFI\xfb"), "a qcow2 image", CONVERT_HINT },
        { 0, SIGNATURE("KDMV"), "a VMDK image", CONVERT_HINT },
        { 0, SIGNATURE("# Disk DescriptorFile"), "a VMDK image", CONVERT_HINT },
        { 0, SIGNATURE("vhdxfile"), "a VHDX image", CONVERT_HINT },
        { 0, SIGNATURE("conectix"), "a VHD image", CONVERT_HINT },
        { 64, SIGNATURE("\x7f\x10\xda\xbe"), "a VDI image", CONVERT_HINT },
        { 0, SIGNATURE("LUKS\xba\xbe"), "a LUKS device",
          "cryptsetup open FILE NAME; and --from /dev/mapper/NAME; --encrypt needs the files: as an archive of tar's" },
        { 512, SIGNATURE("EFI PART"), "a disk with a partition table (GPT)", DISK_HINT },
        { 4096, SIGNATURE("EFI PART"), "a disk with a partition table (GPT)", DISK_HINT },
        { 0x10040, SIGNATURE("_BHRfS_M"), "a btrfs filesystem", NULL },
        { 0, SIGNATURE("hsqs"), "a squashfs filesystem", "unsquashfs, and --from an archive of what that makes" },
        { 32769, SIGNATURE("CD001"), "an ISO 9660 filesystem", NULL },
        { 54, SIGNATURE("FAT"), "a FAT filesystem", NULL },
        { 82, SIGNATURE("FAT32"), "a FAT filesystem", NULL },
        { 3, SIGNATURE("NTFS    "), "an NTFS filesystem", NULL },
        { 4086, SIGNATURE("SWAPSPACE2"), "swap space", NULL },
        { 512, SIGNATURE("LABELONE"), "a physical volume of LVM", NULL },
        { 0, SIGNATURE("BZh"), "compressed by bzip2", "bzip2 -dc FILE | quarry create NAME ... --from -" },
        { 0, SIGNATURE("PK\x03\x04"), "a zip archive", "unzip, and --from an archive of tar's" },
        { 0, SIGNATURE("070701"), "a cpio archive", "cpio -i, and --from an archive of tar's" },
        { 510, SIGNATURE("\x55\xaa"), "a disk with a partition table (MBR)", DISK_HINT },
};

static const struct {
        const char *bytes;
        size_t size;
        const char *unpacker;
} compressed[] = {
        { SIGNATURE("\x1f\x8b"), "gzip" },
        { SIGNATURE("\x28\xb5\x2f\xfd"), "zstd" },
        { SIGNATURE("\xfd"
                    "7zXZ\0"),
          "xz" },
};

static bool has(const uint8_t *head, size_t n, size_t at, const char *bytes, size_t size) {
        return n >= at + size && memcmp(head + at, bytes, size) == 0;
}

static uint64_t little(const uint8_t *at, unsigned n) {
        uint64_t number = 0;

        while (n-- > 0)
                number = number << 8 | at[n];
        return number;
}

static uint64_t big(const uint8_t *at, unsigned n) {
        uint64_t number = 0;

        for (unsigned i = 0; i < n; i++)
                number = number << 8 | at[i];
        return number;
}

/* Where the superblock of ext4 has what is asked of it; and the features that ext2 and ext3 have, too. */
enum {
        EXT_SUPER = 1024,
        EXT_BLOCKS = 4,
        EXT_LOG_SIZE = 24,
        EXT_MAGIC = 56,
        EXT_INCOMPAT = 96,
        EXT_RO_COMPAT = 100,
        EXT_BLOCKS_HIGH = 0x150,
        INCOMPAT_OLD = 0x2 | 0x4 | 0x10,
        INCOMPAT_JOURNAL = 0x8,
        INCOMPAT_64BIT = 0x80,
        RO_COMPAT_OLD = 0x1 | 0x2 | 0x4,
};

static bool recognize_ext(const uint8_t *super, Image *ret) {
        uint64_t incompat = little(super + EXT_INCOMPAT, 4), log_size = little(super + EXT_LOG_SIZE, 4), blocks;

        if (!has(super, EXT_SUPER, EXT_MAGIC, "\x53\xef", 2) || log_size > 6)
                return false;
        if (incompat & INCOMPAT_JOURNAL)
                *ret = (Image) { .what = "the journal of an ext4 filesystem" };
        else if (!(incompat & ~(uint64_t) INCOMPAT_OLD) &&
                 !(little(super + EXT_RO_COMPAT, 4) & ~(uint64_t) RO_COMPAT_OLD))
                *ret = (Image) { .what = "an ext2 or ext3 filesystem",
                                 .hint = "tune2fs -O extents,uninit_bg,dir_index,has_journal FILE; e2fsck -fy FILE" };
        else {
                blocks = little(super + EXT_BLOCKS, 4);
                if (incompat & INCOMPAT_64BIT)
                        blocks |= little(super + EXT_BLOCKS_HIGH, 4) << 32;
                *ret = (Image) { .fs = FILESYSTEM_EXT4, .size = blocks << (10 + log_size) };
        }
        return true;
}

Image image_recognize(const uint8_t *head, size_t n) {
        Image image = {};

        for (size_t i = 0; i < ELEMENTSOF(compressed); i++)
                if (has(head, n, 0, compressed[i].bytes, compressed[i].size))
                        return (Image) { .fs = FILESYSTEM_NONE, .unpacker = compressed[i].unpacker };
        if (has(head, n, 257, SIGNATURE("ustar")))
                return (Image) { .fs = FILESYSTEM_NONE, .is_tar = true };
        if (has(head, n, 0, SIGNATURE("XFSB")) && n >= 16)
                return (Image) { .fs = FILESYSTEM_XFS, .size = big(head + 4, 4) * big(head + 8, 8) };
        if (n >= (size_t) 2 * EXT_SUPER && recognize_ext(head + EXT_SUPER, &image)) {
                if (image.what)
                        image.fs = FILESYSTEM_NONE;
                return image;
        }
        image = (Image) { .fs = FILESYSTEM_NONE, .what = n == 0 ? "empty" : "nothing that is known here" };
        if (n >= 4 && (little(head, 4) & 0xfffffff0) == 0x184d2a50) {
                image.what = "a stream of quarry send";
                image.hint = "quarry receive NAME --from FILE";
                return image;
        }
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                if (has(head, n, others[i].at, others[i].bytes, others[i].size)) {
                        image.what = others[i].what;
                        image.hint = others[i].hint;
                        break;
                }
        return image;
}
