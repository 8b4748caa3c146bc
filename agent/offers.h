/*
 * Proof that two nodes see the same directory, fresh for each move: the target's agent leaves the
 * uid of the migration in a file of its own in each pool, and the source's must find it there. The
 * uid is younger than any copy of the directory (synced, restored) can be; what has lain there for
 * long, such as the pool's identity, such a copy has too. The file stays, is written in place and
 * always has the same size, so that its opening makes a client look anew: neither a cached absence
 * nor a cached size stands in between.
 */
#ifndef DROVER_AGENT_OFFERS_H
#define DROVER_AGENT_OFFERS_H

#include "agent/agent.h"

#define OFFERS_MAX 32 /* moves toward one node at a time; permits keep them far below that */

/*
 * What stands there for a migration: its uid, or, where the target takes so many milliseconds to
 * look up the source's name that it would be felt, "UID!MS": then the source must not begin.
 */
#define OFFER_SIZE 64
void offer_print(char out[OFFER_SIZE], const char *uid, int64_t lookup_ms);

/* The work "offers": writes what a->arriving holds into the pools that are healthy. */
int64_t offers_work(struct agent *a, const char *rest);

/*
 * 0 when the node has left the migration's uid in the pool at that path, waiting for it up to ms;
 * else why that is not proved.
 */
must_check int offer_seen(const char *pool, const char *node, const char *uid, int64_t ms,
                          struct err *e);

/* The verbs of `drover-agent tool`: offer POOL NODE OFFER,... and seen POOL NODE UID MS. */
int offer_tool_write(char **argv);
int offer_tool_seen(char **argv);

#endif
