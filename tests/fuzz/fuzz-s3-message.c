/* What quarry-s3 says to quarry, and quarry to it. */

#include "fuzz.h"

#include <quarry/fd.h>
#include <quarry/s3.h>

#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        int fd = memfd_create("messages", MFD_CLOEXEC), r;

        assert(fd >= 0 && write_all(fd, data, size) >= 0 && lseek(fd, 0, SEEK_SET) == 0);
        do {
                _cleanup_(s3_message_done) S3Message m = {};
                S3Opening opening;
                Error err = {};

                r = s3_message_receive(fd, &m);
                if (r <= 0) {
                        assert(!m.data);
                        break;
                }
                assert(m.op > 0 && m.op < _S3_OP_MAX && m.size <= S3_OBJECT_MAX && m.data[m.size] == 0);
                if (s3_name_is_valid(m.name))
                        assert(text_is_printable(m.name));
                if (m.op == S3_FAILED) {
                        assert(s3_error_take(&m, &err) < 0);
                        assert_sentence(&err);
                        assert(text_is_printable(err.hint));
                }
                if (m.op != S3_OPEN || m.size != sizeof(opening))
                        continue;
                memcpy(&opening, m.data, sizeof(opening));
                if (s3_place_check(&opening.place, &err) < 0 || s3_credentials_check(&opening.credentials, &err) < 0)
                        assert_sentence(&err);
                else
                        assert(text_is_printable(opening.place.endpoint) &&
                               text_is_printable(opening.credentials.session_token));
        } while (true);
        close(fd);
        return 0;
}
