#pragma once

/* Threads that seal or open the pieces of a repository. These go round: one is asked for, filled and given to the crew,
 * and comes back in its turn, with others under way. All of that is for one thread, which alone asks the store. */

#include "repository.h"

typedef struct Crew Crew;

/* work: piece_seal(), piece_open() or piece_check(). Each piece has room for CHUNK_SIZE bytes of data. */
int crew_new(const Repository *r, void (*work)(const Repository *r, Piece *p), Crew **ret, Error *err);
/* Waits for what is under way, and drops it. */
void crew_free(Crew *crew);
DEFINE_CLEANUP(Crew *, crew_free)

/* The piece to be filled next; NULL: all are under way, and the oldest is to be collected first. */
Piece *crew_next(Crew *crew);
/* Gives that to the threads. */
void crew_give(Crew *crew);
/* The oldest that was given and not collected yet, when its work is done; NULL: there is none. It stays as it is until
 * crew_next() is called. */
Piece *crew_collect(Crew *crew);
