/* status.transfer of a migration, which this node alone writes. */
#include "agent/move.h"
#include "api/codec.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

#define REPORT_MS    1000 /* between reports of mere progress */
#define RETRY_MIN_MS 250
#define RETRY_MAX_MS 5000

int report_write(struct kube_client *kube, const struct migration *m, const char *rv,
                 const struct transfer *t, struct err *e)
{
        autojson struct json *patch = json_new_object();

        if (rv)
                json_set_str(json_object_at(patch, "metadata"), "resourceVersion", rv);
        struct json *status = json_object_at(patch, "status");
        if (!json_set(status, "transfer", transfer_encode(t)))
                return err_set(e, -ENOMEM, "out of memory");
        return kube_patch(kube, &KUBE_MIGRATIONS, m->meta.ns, m->meta.name, "status", patch, NULL,
                          e);
}

struct report {
        struct transfer t;
        char message[512];
        bool finished;
};

static bool news(const struct transfer *a, const struct transfer *b)
{
        return a->state != b->state || a->proven != b->proven || a->ndisks != b->ndisks;
}

/* What the journal says already. */
static struct transfer first(struct move *m)
{
        pthread_mutex_lock(&m->lock);
        struct transfer t = m->transfer;
        pthread_mutex_unlock(&m->lock);
        t.proven = m->mig->status.transfer.proven; /* the proof may have said more by now */
        t.ndisks = m->mig->status.transfer.ndisks;
        return t;
}

/* Waits until a report is due; a copy of what to say. */
static void next_report(struct move *m, const struct transfer *last, int64_t ms, struct report *out)
{
        struct timespec until = cond_until(ms);

        pthread_mutex_lock(&m->lock);
        while (!m->finished && !news(&m->transfer, last)) {
                if (cond_wait_until(&m->wake, &m->lock, &until))
                        continue;
                if (!m->near)
                        break;
                until = cond_until(REPORT_MS); /* mere progress is no subject in the pause */
        }
        out->t = m->transfer;
        memcpy(out->message, m->message, sizeof(out->message));
        out->t.message = out->message;
        out->finished = m->finished;
        pthread_mutex_unlock(&m->lock);
}

/*
 * Each change of state at once, progress once a second, and the outcome for as long as it takes the
 * API server to accept it. A migration that was deleted meanwhile has no outcome to be told.
 */
void *report_run(void *move)
{
        struct move *m = move;
        struct transfer last = first(m);
        int64_t retry = RETRY_MIN_MS, wait = REPORT_MS;
        struct report r;
        struct err e;

        for (;;) {
                next_report(m, &last, wait, &r);
                int rc = report_write(m->a->kube, m->mig, NULL, &r.t, &e);
                if ((!rc || rc == -ENOENT) && r.finished)
                        break;
                if (!rc) {
                        last = r.t;
                        retry = RETRY_MIN_MS;
                        wait = REPORT_MS;
                        continue;
                }
                log_err(&e, "cannot report on a migration", "migration", m->key, NULL);
                nanosleep(&(struct timespec){retry / 1000, retry % 1000 * 1000000}, NULL);
                retry = retry * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : retry * 2;
                wait = 0;
        }
        return NULL;
}
