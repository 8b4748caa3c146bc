/*
 * Who has a VM's disks in hand: to start its guest (and set the disks back before), to begin its
 * move, to take or remove a snapshot. Only one of them at a time, in this process, which alone does
 * any of it on this node.
 */
#ifndef DROVER_AGENT_HOLDS_H
#define DROVER_AGENT_HOLDS_H

#include "base/cleanup.h"

#include <stdbool.h>

struct holds;

struct holds *holds_new(void);
void holds_free(struct holds *h);

/* NULL while another has that VM, or when out of memory; never waits. */
struct hold *hold_take(struct holds *h, const char *uuid);
void hold_drop(struct hold *hold); /* NULL is fine */

static inline void cleanup_hold(struct hold **hold)
{
        hold_drop(*hold);
}
#define autohold cleanup(cleanup_hold)

#endif
