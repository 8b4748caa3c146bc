/* Reads from the API server, never from the cache: what stands before anything is started or ended.
 */
#ifndef DROVER_AGENT_FRESH_H
#define DROVER_AGENT_FRESH_H

#include "agent/agent.h"
#include "api/codec.h"

struct fresh {
        struct vm *vm;  /* NULL: there is none of that name */
        bool migrating; /* an unfinished migration of it exists */
};
must_check int fresh_read(struct kube_client *kube, const char *ns, const char *name,
                          struct fresh *out, struct err *e);
static inline void fresh_free(struct fresh *f)
{
        if (f->vm)
                vm_free(f->vm);
        f->vm = NULL;
}
#define autofresh cleanup(fresh_free)

#endif
