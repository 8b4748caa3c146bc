/*
 * The target's side of disks that come along (agent/carry.h), and what moves leave behind.
 *
 * For a move to this node whose source has told its disks, an empty file of the same size is made
 * for each, where there must be none: that there was none proves, file by file, that the pool is
 * not the source's under another name. What is there already is not touched, and the move refused.
 *
 * Files in a local pool of a VM whose disks are on another node by its status are copies that
 * nobody needs: of a move that failed or was cancelled here, or of a guest that has left. They are
 * removed on the word of objects read fresh (core/storage.h, storage_stale), also those that an
 * agent which was killed has left.
 */
#ifndef DROVER_AGENT_COPIES_H
#define DROVER_AGENT_COPIES_H

#include "agent/agent.h"
#include "core/host.h"
#include "core/migration.h"

struct copies *copies_new(void);
void copies_free(struct copies *c);

/* A migration of which this node is the target, as it is now, or as it was before it was gone. */
void copies_arriving(struct agent *a, const struct migration *m);
void copies_arriving_gone(struct agent *a, const struct migration *m);
/* What there is to be said of those under way, into the arena. 0 or -ENOMEM. */
must_check int copies_view(struct agent *a, struct arena *ar, struct host_prepared **out,
                           size_t *n);

/* The works "prepare/NS/NAME", of a migration, and "stale": what lies in the local pools. */
int64_t prepare_work(struct agent *a, const char *rest);
int64_t stale_work(struct agent *a, const char *rest);

#endif
