#pragma once

/* Threads that seal or open the pieces of a repository. These go round: one is asked for, filled and given to the crew,
 * and comes back in its turn, with others under way. All of that is for one thread, which alone asks the store. */

#include "repository.h"

typedef struct Crew Crew;

/* Of a piece whose work is done, in the order in which they were given; it stays as it is for so long. */
typedef int (*CrewDone)(Piece *p, void *userdata, Error *err);

/* work: piece_seal(), piece_open() or piece_check(). Each piece has room for CHUNK_SIZE bytes of data. */
int crew_new(const Repository *r, void (*work)(const Repository *r, Piece *p), CrewDone done, void *userdata,
             Crew **ret, Error *err);
/* Waits for what is under way, and drops it. */
void crew_free(Crew *crew);
DEFINE_CLEANUP(Crew *, crew_free)

/* The piece to be filled next: the same again until it is given. If all are under way, the oldest is waited for and
 * told to done(), whose failure this returns. */
int crew_next(Crew *crew, Piece **ret, Error *err);
/* Gives that to the threads. */
void crew_give(Crew *crew);
/* Waits for what is under way, and tells done() of each, up to the first failure. */
int crew_finish(Crew *crew, Error *err);
