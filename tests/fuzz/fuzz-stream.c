/* A stream that somebody else made. */

#include "fuzz.h"

#include <quarry/fd.h>
#include <quarry/stream.h>

#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(stream_reader_freep) StreamReader *reader = NULL;
        _cleanup_(stream_header_done) StreamHeader header = {};
        uint64_t end = 0, device_size;
        StreamRecord record;
        Error err = {};
        int fd, r;

        fd = memfd_create("stream", MFD_CLOEXEC);
        assert(fd >= 0 && write_all(fd, data, size) >= 0 && lseek(fd, 0, SEEK_SET) == 0);
        r = stream_reader_new(fd, &reader, &header, &err);
        device_size = r < 0 ? 0 : volume_spec_device_size(&header.spec);
        while (r >= 0) {
                r = stream_read(reader, &record, &err);
                if (r <= 0)
                        break;
                assert(record.offset >= end && record.length > 0 && record.length <= device_size - record.offset);
                assert(!record.data || record.length <= STREAM_DATA_MAX);
                end = record.offset + record.length;
        }
        if (r < 0)
                assert_sentence(&err);
        close(fd);
        return 0;
}
