/* The cloud-init volume (NoCloud: user-data, meta-data, network-config on a volume named cidata).
 */
#ifndef DROVER_AGENT_SEED_H
#define DROVER_AGENT_SEED_H

#include "base/buf.h"
#include "base/err.h"
#include "core/vm.h"

/* The VM asks for cloud-init data or SSH keys. */
bool seed_wanted(const struct vm *vm);
/* Writes the volume anew, in a child with a deadline: the file in the pool at that path. */
must_check int seed_make(const struct vm *vm, const char *pool, const char *file,
                         int64_t deadline_ms, struct err *e);

/* meta-data as YAML, whose strings are written as JSON strings, which YAML understands. */
int seed_meta_data(const struct vm *vm, struct buf *b);

#endif
