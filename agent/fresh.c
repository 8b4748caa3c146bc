#include "agent/fresh.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int read_vm(struct kube_client *kube, const char *ns, const char *name, struct vm **out,
                   struct err *e)
{
        autojson struct json *j = NULL;
        int rc = kube_get(kube, &KUBE_VMS, ns, name, &j, e);

        if (rc == -ENOENT) {
                *out = NULL;
                return 0;
        }
        return rc ? rc : vm_decode(j, out, e);
}

/* One that cannot be decoded counts: in doubt, hands off. */
static bool moves(const struct json *j, const char *vm_uid, bool copies)
{
        struct migration *m;
        struct err e;

        if (migration_decode(j, &m, &e))
                return true;
        bool yes = !mig_finished(m->status.phase) && (!copies || m->status.phase >= MIG_COPYING) &&
                   (!*m->status.vm_uid || !strcmp(m->status.vm_uid, vm_uid));
        migration_free(m);
        return yes;
}

static int read_migrations(struct kube_client *kube, const char *ns, const char *name,
                           struct fresh *out, struct err *e)
{
        char selector[300];

        snprintf(selector, sizeof(selector), "spec.vm=%s", name);
        return kube_list(kube, &KUBE_MIGRATIONS, ns, NULL, selector, &out->migrations, e);
}

static bool any_moves(const struct fresh *f, const char *vm_uid, bool copies)
{
        for (const struct json *j = json_first(f->migrations); j; j = json_next(j))
                if (moves(j, vm_uid, copies))
                        return true;
        return false;
}

bool fresh_migrating(const struct fresh *f, const char *vm_uid)
{
        return any_moves(f, vm_uid, false);
}

bool fresh_copying(const struct fresh *f, const char *vm_uid)
{
        return any_moves(f, vm_uid, true);
}

static bool sent(const struct migration *m, const char *uid, const char *node, int64_t epoch)
{
        return !strcmp(m->meta.uid, uid) && !strcmp(m->status.target, node) &&
               m->status.epoch + 1 == epoch && m->status.phase != MIG_FAILED &&
               m->status.phase != MIG_CANCELLED;
}

bool fresh_sent(const struct fresh *f, const char *uid, const char *node, int64_t epoch)
{
        bool found = false;

        for (const struct json *j = json_first(f->migrations); j && !found && *uid;
             j = json_next(j)) {
                struct migration *m;
                struct err e;
                if (migration_decode(j, &m, &e))
                        continue;
                found = sent(m, uid, node, epoch);
                migration_free(m);
        }
        return found;
}

/*
 * Migrations first, then the VM. The other way round, a migration that moves the owner and finishes
 * between the two reads would show the old owner with nothing under way, and its agent would start
 * the guest a second time. In this order, an owner read last was the owner after all migrations
 * that we saw had finished, and a later one needs this node's own agent to copy.
 */
int fresh_read(struct kube_client *kube, const char *ns, const char *name, struct fresh *out,
               struct err *e)
{
        struct fresh f = {0};
        int rc = read_migrations(kube, ns, name, &f, e);

        if (!rc)
                rc = read_vm(kube, ns, name, &f.vm, e);
        if (rc)
                fresh_free(&f);
        else
                *out = f;
        return rc;
}

int fresh_still_sent(struct kube_client *kube, const struct fresh *f, const char *uid,
                     const char *node, int64_t epoch, struct err *e)
{
        autofresh struct fresh now = {0};
        int rc = read_migrations(kube, f->vm->meta.ns, f->vm->meta.name, &now, e);

        if (rc)
                return rc;
        return fresh_sent(&now, uid, node, epoch)
                       ? 0
                       : err_set(e, -ESTALE,
                                 "the migration that sent the guest has ended otherwise");
}
