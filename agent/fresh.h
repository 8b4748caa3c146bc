/* Reads from the API server, never from the cache: what stands before anything is started or ended.
 */
#ifndef DROVER_AGENT_FRESH_H
#define DROVER_AGENT_FRESH_H

#include "agent/agent.h"
#include "api/codec.h"

struct fresh {
        struct vm *vm;           /* NULL: there is none of that name */
        struct json *migrations; /* all of that name's, as listed */
};
must_check int fresh_read(struct kube_client *kube, const char *ns, const char *name,
                          struct fresh *out, struct err *e);
static inline void fresh_free(struct fresh *f)
{
        if (f->vm)
                vm_free(f->vm);
        f->vm = NULL;
        json_free(f->migrations);
        f->migrations = NULL;
}

/*
 * An unfinished migration of the VM with that uid exists. One of another VM that had, or has, the
 * name does not count; one that does not say whose it is, or cannot be understood, does.
 */
bool fresh_migrating(const struct fresh *f, const char *vm_uid);

/* Likewise, one that copies, or may: not one that is still looking for its target. */
bool fresh_copying(const struct fresh *f, const char *vm_uid);

/*
 * The migration with that uid sent the guest to node for that epoch and has not ended otherwise:
 * what it left there is the guest as it was when its source ended. False when there is no such
 * migration.
 */
bool fresh_sent(const struct fresh *f, const char *uid, const char *node, int64_t epoch);

/*
 * The same, asked now. f->vm was read after f->migrations, so that the owner may have been written
 * since, by a start anew after the migration had failed: before an arrival is resumed the question
 * is put once more. -ESTALE when the answer is no.
 */
must_check int fresh_still_sent(struct kube_client *kube, const struct fresh *f, const char *uid,
                                const char *node, int64_t epoch, struct err *e);

#define autofresh cleanup(fresh_free)

#endif
