/*
 * The proven handover. The target has arrived paused; it is resumed when, and only when, the
 * source's QEMU process is dead, libvirt has said that it ended it because the guest had moved, so
 * that it has not run since the copy was complete, and the target holds the whole guest. Whatever
 * else happens - a lost answer, a source that lives on or that lived on and then died, a source
 * that crashed in mid-copy - the target is not resumed.
 */
#include "agent/domxml.h"
#include "agent/move.h"
#include "base/log.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PEER_OPEN_MS  3000
#define DEATH_POLL_MS 1
#define COMPLETE_LOOK_MS                                                                           \
        10 /* between looks at the target in the pause, until it holds the whole guest */
#define TARGET_LOOK_MS  200   /* between look-ups of the target's domain until it exists */
#define RESUME_MS       60000 /* how long locks or the network may stand in the way */
#define RESUME_PAUSE_MS 10    /* between attempts */

static void pause_ms(int64_t ms)
{
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/*
 * libvirt says "paused, migration" while a guest is being received, and "paused, user" once Finish
 * has taken it over with VIR_MIGRATE_PAUSED. The outcome of the job must agree: an incoming
 * migration that is complete. A target whose libvirtd was restarted since has forgotten the
 * outcome, not the state.
 */
static bool job_agrees(virDomainPtr dom)
{
        virTypedParameterPtr p = NULL;
        int n = 0, type = VIR_DOMAIN_JOB_NONE, operation = VIR_DOMAIN_JOB_OPERATION_UNKNOWN;
        unsigned flags = VIR_DOMAIN_JOB_STATS_COMPLETED | VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED;

        if (virDomainGetJobStats(dom, &type, &p, &n, flags) < 0)
                return false;
        virTypedParamsGetInt(p, n, VIR_DOMAIN_JOB_OPERATION, &operation);
        virTypedParamsFree(p, n);
        if (type == VIR_DOMAIN_JOB_NONE)
                return true;
        return type == VIR_DOMAIN_JOB_COMPLETED &&
               operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN;
}

/* The target's domain, and where it comes from by its metadata. */
struct arrival {
        virDomainPtr dom; /* NULL: not found yet */
        enum { STRANGER, SENT, RESUMED } origin;
        bool complete; /* seen to hold the whole guest, paused: that does not change by itself */
        enum ho_word word; /* on the source's end */
};

static void forget(struct arrival *t)
{
        cleanup_domain(&t->dom);
        t->dom = NULL;
}

/*
 * A domain of the guest may lie on the target from an earlier migration that ended otherwise, with
 * memory of then: only the one that this very migration sent may be resumed. Without the mark of an
 * incoming guest it has been resumed already.
 */
static int find_target(struct move *m, struct arrival *t, struct err *e)
{
        struct domain_meta meta;
        autodomain virDomainPtr dom = virDomainLookupByUUIDString(m->peer, m->uuid);

        if (!dom)
                return virt_error(e, "target");
        autofree char *xml = virDomainGetMetadata(dom, VIR_DOMAIN_METADATA_ELEMENT, DOMXML_NS,
                                                  VIR_DOMAIN_AFFECT_LIVE);
        t->origin = STRANGER;
        if (!xml) {
                int rc = virt_error(e, "target's metadata");
                if (rc == -ENOTCONN)
                        return rc;
                if (virDomainIsActive(dom) != 1)
                        return -ENOENT;
        } else if (domain_meta_parse(xml, &meta) && meta.epoch == m->mig->status.epoch + 1) {
                if (!strcmp(meta.migration, m->mig->meta.uid))
                        t->origin = meta.incoming ? SENT : RESUMED;
        }
        t->dom = dom;
        dom = NULL;
        return 0;
}

static enum ho_target look(struct move *m, struct arrival *t, struct err *e)
{
        int state, reason, rc = t->dom ? 0 : find_target(m, t, e);

        if (!rc && virDomainGetState(t->dom, &state, &reason, 0) < 0)
                rc = virt_error(e, "target");
        if (rc)
                return rc == -ENOENT ? HO_TARGET_ABSENT : HO_TARGET_UNSEEN;
        if (t->origin == STRANGER)
                return HO_TARGET_OTHER;
        if (state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED || t->origin == RESUMED)
                return HO_TARGET_RUNS;
        if (state != VIR_DOMAIN_PAUSED)
                return HO_TARGET_ABSENT;
        if (reason != VIR_DOMAIN_PAUSED_USER)
                return reason == VIR_DOMAIN_PAUSED_IOERROR ? HO_TARGET_RUNS : HO_TARGET_RECEIVING;
        return job_agrees(t->dom) ? HO_TARGET_COMPLETE : HO_TARGET_RECEIVING;
}

enum ho_target handover_look(struct move *m, struct err *e)
{
        struct arrival t = {0};
        enum ho_target seen = look(m, &t, e);

        forget(&t);
        return seen;
}

static void resumed(struct move *m)
{
        struct mono now = mono_now();

        pthread_mutex_lock(&m->lock);
        struct transfer *t = &m->transfer;
        t->state = TRANSFER_DONE;
        t->bytes_left = 0;
        t->ended_us = wall_us();
        if (m->paused.ns)
                t->downtime_ms = mono_ms_between(m->paused, now);
        move_say(m, "the guest runs on %s%s", m->mig->status.target, m->remark);
        m->resumed = true;
        pthread_cond_broadcast(&m->wake);
        pthread_mutex_unlock(&m->lock);
}

/* The source is dead and the target does not run yet: worth telling when it does not pass at once.
 */
static void tell_switched(struct move *m, const struct err *e)
{
        pthread_mutex_lock(&m->lock);
        if (m->transfer.state != TRANSFER_SWITCHED) {
                m->transfer.state = TRANSFER_SWITCHED;
                move_say(m, "the source is dead, the target cannot be resumed yet: %s", e->msg);
                pthread_cond_broadcast(&m->wake);
        }
        pthread_mutex_unlock(&m->lock);
}

static bool reopen(struct move *m, struct arrival *t, struct err *e)
{
        forget(t);
        if (m->peer)
                virConnectClose(m->peer);
        m->peer = NULL;
        return virt_open_peer(m->peer_uri, PEER_OPEN_MS, &m->peer, e) == 0;
}

/* What there is to know now; libvirt's call first: what is seen after it is the last that is seen.
 */
static struct handover_state state_of(struct move *m, struct arrival *t, struct err *e)
{
        struct handover_state s = {HO_SOURCE_DEAD, HO_TARGET_UNSEEN, t->word, m->call_over};

        if (t->complete) /* one try without another look */
                s.target = HO_TARGET_COMPLETE;
        else if (m->peer)
                s.target = look(m, t, e);
        t->complete = false;
        return s;
}

/* One attempt: true when there is a verdict. It calls itself once, when the word is known. */
static bool attempt(struct move *m, struct arrival *t, enum handed *verdict, struct err *e)
{
        const struct handover_state s = state_of(m, t, e);

        *verdict = HANDED_UNKNOWN;
        switch (handover_decide(&s, NULL)) {
        case HO_RESUME:
                if (virDomainResume(t->dom) < 0) {
                        virt_error(e, "resume");
                        return false;
                }
                *verdict = HANDED_OVER;
                return true;
        case HO_DONE:
                *verdict = HANDED_OVER;
                return true;
        case HO_LOST:
                *verdict = HANDED_NOTHING;
                return true;
        case HO_ASK:
                return !move_why_ended(m, &t->word, e) && attempt(m, t, verdict, e);
        case HO_LOOK:
                if (s.target == HO_TARGET_RECEIVING) {
                        *verdict = HANDED_NOTHING;
                        err_set(e, -EAGAIN, "the target has not received the whole guest");
                } else {
                        reopen(m, t, e);
                }
                return false;
        default: /* is about a source that lives */
                return false;
        }
}

/* t may have been found already. */
static enum handed resume_target(struct move *m, struct arrival *t, int64_t ms)
{
        struct mono end = mono_add_ms(mono_now(), ms);
        enum handed verdict = HANDED_UNKNOWN;
        struct err e = {0};

        while (!attempt(m, t, &verdict, &e)) {
                if (t->word == HO_MOVED && verdict != HANDED_NOTHING && e.code)
                        tell_switched(m, &e);
                if (mono_ms_between(mono_now(), end) <= 0)
                        break;
                pause_ms(RESUME_PAUSE_MS);
        }
        if (verdict == HANDED_OVER)
                resumed(m);
        return verdict;
}

enum handed handover_resume(struct move *m, int64_t ms)
{
        struct arrival t = {0};
        enum handed verdict = resume_target(m, &t, ms);

        forget(&t);
        return verdict;
}

void handover_wake(struct move *m)
{
        uint64_t one = 1;
        ssize_t n = write(m->near_fd, &one, sizeof(one));

        (void)n; /* a full counter wakes as well */
}

/* Waits outside of the pause, where nothing is urgent: for the process, for news, or for ms. */
static bool wait_calmly(struct move *m, int ms)
{
        struct pollfd p[2] = {{.fd = m->process.pidfd, .events = POLLIN},
                              {.fd = m->near_fd, .events = POLLIN}};
        uint64_t count;

        if (poll(p, 2, ms) <= 0)
                return false;
        if (p[0].revents & POLLIN)
                return true;
        ssize_t n = read(m->near_fd, &count, sizeof(count));
        (void)n;
        return false;
}

/*
 * In the pause. The source cannot end well before the target is complete, which is looked for
 * meanwhile; only then is its end a matter of milliseconds.
 */
static bool died(struct move *m, struct arrival *t)
{
        struct err e;

        if (!t->complete) {
                if (guest_process_dead(&m->process, COMPLETE_LOOK_MS))
                        return true;
                t->complete = t->dom && look(m, t, &e) == HO_TARGET_COMPLETE;
        }
        return guest_process_dead(&m->process, DEATH_POLL_MS);
}

/*
 * Waits until the process is dead; false when there is nothing to wait for any more. The target's
 * domain is looked up on the way, as soon as it exists, so that the pause need not wait for that.
 */
static bool wait_death(struct move *m, struct arrival *t)
{
        struct err e;

        while (!m->call_over) {
                if (m->near) {
                        if (died(m, t))
                                return true;
                        continue;
                }
                t->complete = false; /* of a switch-over that was called off */
                if (!t->dom && m->peer && find_target(m, t, &e) == 0 && t->origin != SENT)
                        forget(t);
                if (wait_calmly(m, t->dom ? -1 : TARGET_LOOK_MS))
                        return true;
        }
        return guest_process_dead(&m->process, 0);
}

void *handover_run(void *move)
{
        struct move *m = move;
        struct arrival t = {0};

        /* Dead of something else, or libvirt cannot be heard yet: settled when its call is over. */
        if (wait_death(m, &t) && move_left(m)) {
                pthread_mutex_lock(&m->lock);
                m->transfer.switched_us = wall_us();
                pthread_mutex_unlock(&m->lock);
                t.word = HO_MOVED;
                (void)resume_target(m, &t, RESUME_MS);
        }
        forget(&t);
        return NULL;
}
