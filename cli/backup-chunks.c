#include "backup.h"
#include "must.h"
#include "stream.h"
#include "terminal.h"

static int begin_chunk(BackupSession *session, const Backup *b, const ChunkPass *pass, Crew *crew, uint64_t n,
                       const ContentId *id, Error *err) {
        Piece *p;
        int r;

        r = repository_lock_renew(session->lock, err);
        if (r >= 0)
                r = crew_next(crew, &p, err);
        if (r < 0)
                return r;
        p->number = n;
        p->id = *id;
        p->size = backup_chunk_size(b, n);
        r = pass->begin(p, pass->userdata, err);
        if (r > 0)
                crew_give(crew);
        return r;
}

int backup_each_chunk(BackupSession *session, const Backup *b, const char *what, const ChunkPass *pass, Error *err) {
        _cleanup_free_ ContentId *ids = must_have(calloc(SEGMENT_CHUNKS, sizeof(*ids)));
        Progress progress = { .what = what, .total = b->device_size };
        _cleanup_(crew_freep) Crew *crew = NULL;
        int r;

        r = crew_new(session->repository, pass->work, pass->done, pass->userdata, &crew, err);
        for (size_t i = 0; i < b->n_segments && r >= 0; i++) {
                uint64_t first = (uint64_t) i * SEGMENT_CHUNKS;

                r = backup_get_segment(session->repository, b, i, ids, err);
                for (uint64_t j = 0; j < SEGMENT_CHUNKS && r >= 0 && (first + j) * CHUNK_SIZE < b->device_size; j++) {
                        r = begin_chunk(session, b, pass, crew, first + j, &ids[j], err);
                        stream_progress(&progress, (first + j + 1) * CHUNK_SIZE);
                }
        }
        if (r >= 0)
                r = crew_finish(crew, err);
        progress_clear();
        return r;
}
