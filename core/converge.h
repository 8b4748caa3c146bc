/*
 * What to do about a copy that does not come to an end by itself, because the guest writes memory
 * as fast as it is sent. QEMU slows the guest (auto-converge) by itself once a pass has brought
 * nothing.
 */
#ifndef DROVER_CORE_CONVERGE_H
#define DROVER_CORE_CONVERGE_H

#include "core/vm.h"

#define CONVERGE_STALLS 3  /* passes without progress until post-copy, where the VM consents */
#define CONVERGE_GAIN   10 /* per cent that a pass must bring to count as progress */

enum converge_action {
        CONVERGE_GO_ON,
        CONVERGE_POST_COPY, /* the target runs on what it has and fetches the rest */
        CONVERGE_PAUSE,     /* the guest stands still for as long as the rest takes */
        CONVERGE_ABORT      /* the guest stays where it is */
};

struct converge {
        int64_t pass, left; /* at the beginning of this pass */
        int stalls;         /* passes in a row without progress */
        bool acted;         /* on the timeout, or gone over to post-copy */
};

/* Milliseconds that the copy may take: per started GiB of what is copied; 0: no limit. */
int64_t converge_allowed_ms(const struct vm_migration_policy *policy, int64_t bytes);

/*
 * Milliseconds since the copy began, by its journal, so that the time allowed does not begin anew
 * with each agent that takes it up. A clock that was set back has it begin now.
 */
int64_t converge_elapsed_ms(int64_t started_us, int64_t now_us);

/*
 * pass counts from 1 as libvirt's iteration does, 0 when it is not known; left: bytes still to be
 * sent; elapsed: since the copy began. Each action but GO_ON is given once.
 */
enum converge_action converge_step(struct converge *c, const struct vm_migration_policy *policy,
                                   int64_t pass, int64_t left, int64_t elapsed_ms,
                                   int64_t allowed_ms);

/* A move's share of the node's outbound bandwidth, and its own limit: MiB/s, 0 for none. */
int64_t converge_bandwidth(int64_t own, int64_t of_node, size_t moves);

#endif
