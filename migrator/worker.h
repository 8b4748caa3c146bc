/* One VM's turn: what is known of it is gathered, decided upon and carried out until it is at rest.
 */
#ifndef DROVER_MIGRATOR_WORKER_H
#define DROVER_MIGRATOR_WORKER_H

#include "migrator/act.h"

/*
 * The VM "namespace/name". 0, or a failure of which e tells; -EAGAIN when what was known is stale,
 * and another look is all it takes. Of two workers each has another VM.
 */
must_check int worker_vm(const struct actor *actor, const struct permit_limits *limits,
                         const char *key, struct err *e);

#endif
