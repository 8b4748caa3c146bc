/*
 * The proven handover. The target has arrived paused; it is resumed when, and only when, the
 * source's QEMU process is dead and the target holds the whole guest. Whatever else happens - a
 * lost answer, a source that lives on, a source that crashed in mid-copy - the target is not
 * resumed.
 */
#include "agent/move.h"
#include "base/log.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <poll.h>
#include <unistd.h>

#define PEER_OPEN_MS    3000
#define DEATH_POLL_MS   1
#define TARGET_LOOK_MS  200   /* between look-ups of the target's domain until it exists */
#define RESUME_MS       60000 /* how long locks or the network may stand in the way */
#define RESUME_PAUSE_MS 10    /* between attempts */

static void pause_ms(int64_t ms)
{
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

enum target {
        TARGET_RUNS,
        TARGET_COMPLETE,  /* paused after it has received everything */
        TARGET_RECEIVING, /* paused as every guest is that still receives */
        TARGET_ABSENT,    /* or defined only */
        TARGET_UNSEEN
};

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

static enum target look(virConnectPtr c, const char *uuid, virDomainPtr *dom, struct err *e)
{
        int state, reason;

        if (!*dom && !(*dom = virDomainLookupByUUIDString(c, uuid)))
                return virt_error(e, "target") == -ENOENT ? TARGET_ABSENT : TARGET_UNSEEN;
        if (virDomainGetState(*dom, &state, &reason, 0) < 0)
                return virt_error(e, "target") == -ENOENT ? TARGET_ABSENT : TARGET_UNSEEN;
        if (state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED)
                return TARGET_RUNS;
        if (state != VIR_DOMAIN_PAUSED)
                return TARGET_ABSENT;
        if (reason != VIR_DOMAIN_PAUSED_USER)
                return reason == VIR_DOMAIN_PAUSED_IOERROR ? TARGET_RUNS : TARGET_RECEIVING;
        return job_agrees(*dom) ? TARGET_COMPLETE : TARGET_RECEIVING;
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
        move_say(m, "the guest runs on %s", m->mig->status.target);
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

static bool reopen(struct move *m, virDomainPtr *dom, struct err *e)
{
        if (*dom)
                virDomainFree(*dom);
        *dom = NULL;
        if (m->peer)
                virConnectClose(m->peer);
        m->peer = NULL;
        return virt_open_peer(m->peer_uri, PEER_OPEN_MS, &m->peer, e) == 0;
}

/* One attempt: true when there is a verdict. */
static bool attempt(struct move *m, virDomainPtr *dom, enum handed *verdict, struct err *e)
{
        enum target t = TARGET_UNSEEN;

        if (m->peer)
                t = look(m->peer, m->uuid, dom, e);
        switch (t) {
        case TARGET_COMPLETE:
                if (virDomainResume(*dom) < 0) {
                        virt_error(e, "resume");
                        return false;
                }
                *verdict = HANDED_OVER;
                return true;
        case TARGET_RUNS:
                *verdict = HANDED_OVER;
                return true;
        case TARGET_ABSENT:
                *verdict = HANDED_NOTHING;
                return true;
        case TARGET_RECEIVING:
                /* Its libvirtd ends it, or completes it, when it notices what became of the source.
                 */
                *verdict = HANDED_NOTHING;
                err_set(e, -EAGAIN, "the target has not received the whole guest");
                return false;
        case TARGET_UNSEEN:
                break;
        }
        *verdict = HANDED_UNKNOWN;
        reopen(m, dom, e);
        return false;
}

/* known: the target's domain when it is known already, else NULL; given up in any case. */
static enum handed resume_target(struct move *m, virDomainPtr known, int64_t ms)
{
        struct mono end = mono_add_ms(mono_now(), ms);
        enum handed verdict = HANDED_UNKNOWN;
        autodomain virDomainPtr dom = known;
        struct err e = {0};

        while (!attempt(m, &dom, &verdict, &e)) {
                if (verdict != HANDED_NOTHING)
                        tell_switched(m, &e);
                if (mono_ms_between(mono_now(), end) <= 0)
                        break;
                if (verdict == HANDED_NOTHING && m->call_over)
                        end = mono_now(); /* libvirt is through with it: one more look is the last
                                           */
                pause_ms(RESUME_PAUSE_MS);
        }
        if (verdict == HANDED_OVER)
                resumed(m);
        return verdict;
}

enum handed handover_resume(struct move *m, int64_t ms)
{
        return resume_target(m, NULL, ms);
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
 * Waits until the process is dead; false when there is nothing to wait for any more. The target's
 * domain is looked up on the way, as soon as it exists, so that the pause need not wait for that.
 */
static bool wait_death(struct move *m, virDomainPtr *target)
{
        while (!m->call_over) {
                if (m->near) {
                        if (guest_process_dead(&m->process, DEATH_POLL_MS))
                                return true;
                        continue;
                }
                if (!*target && m->peer)
                        *target = virDomainLookupByUUIDString(m->peer, m->uuid);
                if (wait_calmly(m, *target ? -1 : TARGET_LOOK_MS))
                        return true;
        }
        virResetLastError();
        return guest_process_dead(&m->process, 0);
}

void *handover_run(void *move)
{
        struct move *m = move;
        virDomainPtr target = NULL;

        if (!wait_death(m, &target)) {
                cleanup_domain(&target);
                return NULL;
        }
        pthread_mutex_lock(&m->lock);
        m->transfer.switched_us = wall_us();
        pthread_mutex_unlock(&m->lock);
        (void)resume_target(m, target, RESUME_MS);
        return NULL;
}
