#include "agent/arrivals.h"

#include "agent/copies.h"
#include "agent/domain.h"
#include "agent/journals.h"
#include "api/codec.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NOT_YET_MS 500

static bool to_answer(const struct agent *a, const struct migration *m)
{
        return m->status.asked && m->status.arrival == ARRIVAL_UNSAID &&
               m->status.phase == MIG_UNKNOWN && !strcmp(m->status.target, a->config.node);
}

static enum arrival_state state_of(const struct domain_facts *f, const struct migration *m)
{
        if (!f->ours || !f->active || strcmp(f->meta.migration, m->meta.uid) != 0)
                return ARRIVAL_NONE;
        switch (f->own) {
        case OWN_RECEIVING:
                return ARRIVAL_RECEIVING;
        case OWN_RECEIVED:
                return ARRIVAL_RECEIVED;
        case OWN_UNSEEN:
                return ARRIVAL_UNSAID;
        default:
                return ARRIVAL_RUNNING;
        }
}

static int look(struct agent *a, const struct migration *m, enum arrival_state *out, struct err *e)
{
        struct domain_facts f;
        autoconnect virConnectPtr c = virt_connect(a->virt, e);

        if (!c)
                return e->code;
        int rc = domain_read(c, m->status.vm_uid, &f, e);
        *out = rc == -ENOENT ? ARRIVAL_NONE : state_of(&f, m);
        return rc == -ENOENT ? 0 : rc;
}

/*
 * The question is read fresh and then libvirt is asked: the answer is of a time after the question.
 * It holds for the journal as it was read, which the compare-and-swap sees to.
 */
static int answer(struct agent *a, const char *ns, const char *name, struct err *e)
{
        autojson struct json *j = NULL, *patch = json_new_object();
        struct migration *m;
        enum arrival_state state = ARRIVAL_UNSAID;
        int rc = kube_get(a->kube, &KUBE_MIGRATIONS, ns, name, &j, e);

        if (!rc)
                rc = migration_decode(j, &m, e);
        if (rc)
                return rc;
        if (to_answer(a, m))
                rc = look(a, m, &state, e);
        if (!rc && state != ARRIVAL_UNSAID) {
                json_set_str(json_object_at(patch, "metadata"), "resourceVersion", m->meta.rv);
                json_set_str(json_object_at(patch, "status"), "arrival", arrival_state_name(state));
                rc = kube_patch(a->kube, &KUBE_MIGRATIONS, ns, name, "status", patch, NULL, e);
                log_msg(LOG_INFO, "asked about a migration whose source is lost", "migration", name,
                        "answer", arrival_state_name(state), NULL);
        }
        migration_free(m);
        return rc;
}

int64_t arrival_work(struct agent *a, const char *rest)
{
        char ns[64], name[254];
        struct err e = {0};
        autoref struct kube_ref *ref = kube_store_get(a->arriving, rest);

        if (!ref || !agent_split(rest, ns, name) || !to_answer(a, kube_ref_object(ref)))
                return WORK_DONE;
        if (!a->synced || !virt_connected(a->virt))
                return NOT_YET_MS;
        int rc = answer(a, ns, name, &e);
        if (!rc || rc == -ENOENT)
                return WORK_DONE;
        if (rc == -EAGAIN)
                return NOT_YET_MS; /* written by another meanwhile: read anew */
        log_err(&e, "cannot answer for a migration", "migration", rest, NULL);
        return WORK_RETRY;
}

/* --- the cache */

static void changed(void *ctx, const void *before, const void *after)
{
        const struct migration *m = after, *old = before;

        if (!m != !old || mig_finished(m->status.phase) != mig_finished(old->status.phase))
                agent_poke(ctx, 0, "offers");
        if (m)
                copies_arriving(ctx, m);
        else
                copies_arriving_gone(ctx, old);
        if (m && to_answer(ctx, m))
                agent_poke(ctx, 0, "arrival/%s/%s", m->meta.ns, m->meta.name);
}

int arrivals_start(struct agent *a, struct kube_watch **out, struct err *e)
{
        return journals_watch(a, "status.target", changed, &a->arriving, out, e);
}
