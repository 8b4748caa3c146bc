/*
 * Room for a guest on a node, as the migrator judges it before it makes a node the owner or the
 * target of a VM. The scheduler's choice may be out of date: several schedulers and extenders
 * choose at the same time, each by what it has seen. The migrator is the one who decides, and it
 * counts what it has promised itself.
 */
#ifndef DROVER_CORE_ROOM_H
#define DROVER_CORE_ROOM_H

#include "core/reconcile.h"

/*
 * The extender's rules, asked of the node with n->promised; what the VM's own guest takes there is
 * not counted. message is untouched when it fits.
 */
enum capacity_rule room_check(const struct rec_node *n, const struct vm *vm,
                              const struct capacity_demand *d, char message[CAPACITY_MESSAGE_MAX]);
/* The rule is about room, which the departure of other guests would make. */
bool room_is_short(enum capacity_rule r);

#define ROOM_WAIT_MIN_S 1
#define ROOM_WAIT_MAX_S 60

/* One more node without room. */
void room_refused(struct refusals *r, int64_t now_us);
/* Until the scheduler is asked again, doubled with each refusal in a row; 0 or less: now. */
int64_t room_wait_us(const struct refusals *r, int64_t now_us);

#endif
