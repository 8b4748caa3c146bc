#include "agent/move.h"

#include "agent/domain.h"
#include "agent/moves.h"
#include "api/codec.h"
#include "base/log.h"
#include "core/converge.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SETTLE_MS      120000 /* until a state that tells nothing counts as lost */
#define SETTLE_STEP_MS 250
#define LAST_RESUME_MS 30000
#define CLEAR_TRIES    12
#define CLEAR_PAUSE_S  3
#define CLEAR_OPEN_MS  3000
#define WAITS_MAX      20 /* looks at a source that waits, before we decide for it */

int move_new(struct agent *a, struct migration *mig, struct vm *vm, bool rejoin, struct move **out,
             struct err *e)
{
        struct move *m = calloc(1, sizeof(*m));

        if (!m)
                return err_set(e, -ENOMEM, "out of memory");
        m->near_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (m->near_fd < 0) {
                free(m);
                return err_sys(e, -errno, "eventfd");
        }
        m->a = a;
        m->mig = mig;
        m->vm = vm;
        m->rejoin = rejoin;
        m->uuid = vm->meta.uid;
        m->process = (struct guest_process){.pidfd = -1};
        m->stoplog = (struct stoplog){.fd = -1};
        snprintf(m->key, sizeof(m->key), "%s/%s", mig->meta.ns, mig->meta.name);
        vm_domain_name(&vm->meta, m->libvirt_name);
        pthread_mutex_init(&m->lock, NULL);
        cond_init(&m->wake);
        m->transfer = mig->status.transfer;
        if (m->transfer.state == TRANSFER_NONE)
                m->transfer.state = TRANSFER_RUNNING;
        m->transfer.message = m->message;
        m->remark = "";
        if (!m->transfer.started_us)
                m->transfer.started_us = wall_us();
        m->began = mono_add_ms(mono_now(), -converge_elapsed_ms(m->transfer.started_us, wall_us()));
        *out = m;
        return 0;
}

void move_free(struct move *m)
{
        errand_drop(&m->proof);
        errand_drop(&m->link);
        carry_free(&m->carried);
        guest_process_close(&m->process);
        stoplog_close(&m->stoplog);
        if (m->peer)
                virConnectClose(m->peer);
        close(m->near_fd);
        migration_free(m->mig);
        vm_free(m->vm);
        pthread_mutex_destroy(&m->lock);
        pthread_cond_destroy(&m->wake);
        free(m);
}

void move_say(struct move *m, const char *fmt, ...)
{
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(m->message, sizeof(m->message), fmt, ap);
        va_end(ap);
}

/* The outcome; only the first counts. */
static void finish(struct move *m, enum transfer_state state, const char *message)
{
        pthread_mutex_lock(&m->lock);
        if (!m->resumed) {
                m->transfer.state = state;
                m->transfer.ended_us = wall_us();
                move_say(m, "%s", message);
        }
        m->finished = true;
        pthread_cond_broadcast(&m->wake);
        pthread_mutex_unlock(&m->lock);
        log_msg(m->resumed || state == TRANSFER_CANCELLED ? LOG_INFO : LOG_WARN, "migration ended",
                "migration", m->key, "transfer", transfer_state_name(m->transfer.state), "message",
                m->message, NULL); /* nobody changes them any more */
}

/* --- libvirt's call */

struct call {
        virTypedParameterPtr p;
        int n, max;
        bool failed;
};

static void add_string(struct call *c, const char *name, const char *value)
{
        c->failed |= virTypedParamsAddString(&c->p, &c->n, &c->max, name, value) < 0;
}

/* As it runs, or as it is defined, with the target's epoch in it. */
static int target_xml(const struct move *m, virDomainPtr dom, unsigned flags,
                      const struct domain_meta *meta, struct buf *out, struct err *e)
{
        autofree char *xml =
                virDomainGetXMLDesc(dom, flags | VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_MIGRATABLE);

        return xml ? peer_xml(m, xml, meta, out, e) : virt_error(e, "domain's XML");
}

static int fill_call(struct move *m, virDomainPtr dom, const struct domain_facts *f, struct call *c,
                     struct err *e)
{
        autobuf struct buf live = buf_new(DOMXML_MAX), kept = buf_new(DOMXML_MAX);
        struct domain_meta meta = f->meta;

        meta.epoch = m->mig->status.epoch + 1;
        meta.incoming = false;
        meta.migration[0] = '\0';
        int rc = target_xml(m, dom, VIR_DOMAIN_XML_INACTIVE, &meta, &kept, e);
        meta.incoming = true;
        snprintf(meta.migration, sizeof(meta.migration), "%s", m->mig->meta.uid);
        if (!rc)
                rc = target_xml(m, dom, 0, &meta, &live, e);
        if (rc)
                return rc;
        add_string(c, VIR_MIGRATE_PARAM_DEST_XML, buf_str(&live));
        add_string(c, VIR_MIGRATE_PARAM_PERSIST_XML, buf_str(&kept));
        if (m->a->config
                    .migration_tls) /* the certificate is the node's name's, not the address's */
                add_string(c, VIR_MIGRATE_PARAM_TLS_DESTINATION, m->mig->status.target);
        int64_t bandwidth = converge_bandwidth(m->vm->spec.migration.bandwidth_mibps,
                                               m->a->config.migration_bandwidth_mibps,
                                               moves_count(m->a->moves));
        if (bandwidth > 0)
                c->failed |=
                        virTypedParamsAddULLong(&c->p, &c->n, &c->max, VIR_MIGRATE_PARAM_BANDWIDTH,
                                                (unsigned long long)bandwidth) < 0;
        return c->failed ? virt_error(e, "migration parameters") : 0;
}

static unsigned call_flags(const struct move *m)
{
        unsigned f = VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_PERSIST_DEST |
                     VIR_MIGRATE_UNDEFINE_SOURCE;

        /* libvirt judges by the type of the file system; no move comes here without the proof of
         * peer_prepare, which is better evidence. */
        f |= VIR_MIGRATE_UNSAFE;
        if (m->proven)
                f |= VIR_MIGRATE_PAUSED;
        if (m->a->config.migration_tls)
                f |= VIR_MIGRATE_TLS;
        if (m->vm->spec.migration.auto_converge)
                f |= VIR_MIGRATE_AUTO_CONVERGE;
        if (m->vm->spec.migration.post_copy && !m->proven)
                f |= VIR_MIGRATE_POSTCOPY;
        f |= carry_copies(&m->transfer) ? VIR_MIGRATE_NON_SHARED_INC : 0;
        return f;
}

struct helpers {
        pthread_t handover, progress;
        bool has_handover, has_progress;
};

static int start_helpers(struct move *m, struct helpers *h, struct err *e)
{
        *h = (struct helpers){0};
        if (m->proven && m->process.pidfd >= 0) {
                h->has_handover = !pthread_create(&h->handover, NULL, handover_run, m);
                if (!h->has_handover)
                        return err_set(e, -EAGAIN, "no thread for the handover");
        }
        h->has_progress = !pthread_create(&h->progress, NULL, progress_run, m);
        return 0;
}

/* Nothing more comes from libvirt's call: the helpers see to what they have begun, and end. */
static void end_helpers(struct move *m, struct helpers *h)
{
        pthread_mutex_lock(&m->lock);
        m->copied = true;
        pthread_cond_broadcast(&m->wake);
        pthread_mutex_unlock(&m->lock);
        m->call_over = true;
        handover_wake(m);
        if (h->has_handover)
                pthread_join(h->handover, NULL);
        if (h->has_progress)
                pthread_join(h->progress, NULL);
}

/* With the proof at hand. */
static int call_libvirt(struct move *m, virDomainPtr dom, struct call *c, struct err *e)
{
        struct helpers h;

        add_string(c, VIR_MIGRATE_PARAM_URI, m->migration_uri);
        for (size_t i = 0; i < m->transfer.ndisks; i++)
                if (*m->transfer.disks[i].name)
                        add_string(c, VIR_MIGRATE_PARAM_MIGRATE_DISKS, m->transfer.disks[i].target);
        if (c->failed)
                return virt_error(e, "migration parameters");
        int rc = start_helpers(m, &h, e);
        if (rc)
                return rc;
        if (virDomainMigrateToURI3(dom, m->peer_uri, c->p, (unsigned)c->n, call_flags(m)) < 0)
                rc = virt_error(e, "migration");
        end_helpers(m, &h);
        return rc;
}

/* The process that runs the guest now, and what libvirtd writes of it from now on. */
static int open_process(struct move *m, struct err *e)
{
        struct err why;

        if (stoplog_open(m->a->config.libvirt_log, m->libvirt_name, &m->stoplog, &why))
                log_err(&why, "libvirtd will have to be asked why the source ended: a longer pause",
                        "migration", m->key, NULL);
        int rc = guest_process_open(m->a->config.libvirt_run, m->libvirt_name, m->uuid, &m->process,
                                    e);
        if (rc)
                stoplog_close(&m->stoplog);
        return rc;
}

bool move_left(const struct move *m)
{
        return m->process.pidfd >= 0 && guest_process_dead(&m->process, 0) &&
               stoplog_migrated(&m->stoplog);
}

/* It runs, or stands still after an I/O error: what it had asked of its disks goes along. */
static bool can_leave(const struct domain_facts *f)
{
        return f->own == OWN_RUNNING || (f->own == OWN_PAUSED && domain_io_error(f));
}

static int prepare_source(struct move *m, virConnectPtr c, struct domain_facts *f, struct err *e)
{
        int rc = domain_read(c, m->uuid, f, e);

        if (rc)
                return rc;
        if (!f->ours || !can_leave(f) || f->meta.epoch != m->mig->status.epoch)
                return err_set(e, -EINVAL, "the guest does not run here at epoch %lld%s%s",
                               (long long)m->mig->status.epoch, *domain_reason(f) ? ": " : "",
                               domain_reason(f));
        snprintf(m->libvirt_name, sizeof(m->libvirt_name), "%s", f->libvirt_name);
        return open_process(m, e);
}

/* Everything but the proof that libvirt's call needs. */
static int make_ready(struct move *m, virConnectPtr c, struct call *call, virDomainPtr *dom,
                      struct err *e)
{
        struct domain_facts f;
        int rc = prepare_source(m, c, &f, e);

        if (!rc)
                rc = peer_prepare(m, e);
        if (rc)
                return rc;
        *dom = virDomainLookupByUUIDString(c, m->uuid);
        if (!*dom)
                return virt_error(e, "domain");
        if (virDomainMigrateSetMaxDowntime(*dom, 50, 0) < 0)
                virResetLastError(); /* the progress widens it all the same */
        return fill_call(m, *dom, &f, call, e);
}

/* From here to the end of libvirt's call. 0: it says that the guest has moved. */
static int copy(struct move *m, struct err *e)
{
        autoconnect virConnectPtr c = virt_connect(m->a->virt, e);
        autodomain virDomainPtr dom = NULL;
        struct call call = {0};
        struct err unproven;
        int rc = c ? make_ready(m, c, &call, &dom, e) : e->code;

        if (peer_end(m, &unproven)) { /* it tells more than what failed for it as well */
                *e = unproven;
                rc = e->code;
        }
        if (!rc)
                rc = call_libvirt(m, dom, &call, e);
        virTypedParamsFree(call.p, call.n);
        return rc;
}

/* --- what has become of the guest, when the call did not end well or an earlier agent made it */

static bool job_runs(virDomainPtr dom)
{
        virDomainJobInfo info;

        if (virDomainGetJobInfo(dom, &info) < 0) {
                virResetLastError();
                return false;
        }
        return info.type == VIR_DOMAIN_JOB_UNBOUNDED || info.type == VIR_DOMAIN_JOB_BOUNDED;
}

/* Not a guest of the same VM that has come here later. */
static bool is_source(const struct move *m, const struct domain_facts *f)
{
        return f->ours && f->meta.epoch == m->mig->status.epoch;
}

/*
 * With a pidfd from before, dead is what it says. Without one, libvirtd and the process table must
 * agree that there is no such guest, and the table must be the one that libvirtd lives in; a guest
 * that has come here later has the place that only one can have.
 */
static bool source_dead(struct move *m, virConnectPtr c)
{
        struct domain_facts f;
        struct err e;

        if (m->process.pidfd >= 0)
                return guest_process_dead(&m->process, 0);
        int rc = c ? domain_read(c, m->uuid, &f, &e) : -ENOTCONN;
        if (rc && rc != -ENOENT)
                return false;
        if (!rc && f.active)
                return !is_source(m, &f);
        return proc_socket_owner(m->a->config.libvirt_run) > 0 && proc_find_guest(m->uuid) == 0;
}

static enum ho_source look_at_source(struct move *m)
{
        struct domain_facts f;
        struct err e;

        autoconnect virConnectPtr c = virt_connect(m->a->virt, &e);
        if (source_dead(m, c))
                return HO_SOURCE_DEAD;
        if (!c || domain_read(c, m->uuid, &f, &e) || !f.active || !is_source(m, &f))
                return HO_SOURCE_UNSEEN;
        autodomain virDomainPtr dom = virDomainLookupByUUIDString(c, m->uuid);
        if (!dom)
                return HO_SOURCE_UNSEEN;
        if (job_runs(dom))
                return HO_SOURCE_COPIES;
        if (f.vir_state == VIR_DOMAIN_PAUSED && (f.vir_reason == VIR_DOMAIN_PAUSED_MIGRATION ||
                                                 f.vir_reason == VIR_DOMAIN_PAUSED_UNKNOWN))
                return HO_SOURCE_WAITS;
        return HO_SOURCE_RUNS;
}

/* The guest runs on here. */
static void stays(struct move *m, const struct err *why)
{
        m->clear = true;
        pthread_mutex_lock(&m->lock);
        bool cancel = m->cancel, timed_out = m->timed_out;
        pthread_mutex_unlock(&m->lock);
        if (cancel)
                finish(m, TRANSFER_CANCELLED, "cancelled; the guest runs on the source as before");
        else if (timed_out)
                finish(m, TRANSFER_FAILED,
                       "not complete within the time allowed; the guest runs on the "
                       "source as before");
        else
                finish(m, TRANSFER_FAILED,
                       why->code ? why->msg : "the migration ended before this agent began");
}

/*
 * What lies on the target of a guest that stayed can only do harm. Its libvirtd may be out of reach
 * for a while, which mostly is why the guest stayed; whatever is left for good goes with the next
 * move.
 */
static void clear_target(struct move *m)
{
        struct err e;

        for (int i = 0; i < CLEAR_TRIES && m->clear; i++) {
                if (i)
                        nanosleep(&(struct timespec){.tv_sec = CLEAR_PAUSE_S}, NULL);
                if (!m->peer && *m->peer_uri &&
                    virt_open_peer(m->peer_uri, CLEAR_OPEN_MS, &m->peer, &e))
                        continue;
                if (!m->peer)
                        return; /* we never came that far */
                int rc = look_at_source(m) == HO_SOURCE_RUNS ? peer_clear(m, &e) : 0;
                m->clear = rc && rc != -EEXIST;
                if (m->clear) {
                        virConnectClose(m->peer);
                        m->peer = NULL;
                }
        }
        if (m->clear)
                log_err(&e, "cannot clear the target", "migration", m->key, NULL);
}

/*
 * Whether what the target holds is the guest as it was when its source died. libvirt may have let
 * the source go on after the copy was complete (the answer to Finish was lost), and then it died of
 * something else: the target's memory is older than the disks. That libvirt tells by an event,
 * which may come later than the death that followed it; so nothing is concluded from an event that
 * did not come. libvirt must say that it ended the source because it had moved: in the domain's
 * log, by its reason, or by having removed the definition, which it does for no other reason.
 */
int move_why_ended(struct move *m, enum ho_word *out, struct err *e)
{
        struct domain_facts f;

        if (move_left(m)) {
                *out = HO_MOVED;
                return 0;
        }
        autoconnect virConnectPtr c = virt_connect(m->a->virt, e);
        if (!c)
                return e->code;
        int rc = domain_read(c, m->uuid, &f, e);
        if (rc && rc != -ENOENT)
                return rc;
        bool moved = rc || (!f.active && f.vir_reason == VIR_DOMAIN_SHUTOFF_MIGRATED);
        *out = moved ? HO_MOVED : HO_ENDED;
        return 0;
}

/* The source is dead and the handover did not resume the target, or there was none. True when
 * settled. */
static bool after_death(struct move *m, const struct err *why)
{
        struct err e;
        char text[512];

        if (!m->peer && peer_find(m, &e))
                return false;
        switch (handover_resume(m, LAST_RESUME_MS)) {
        case HANDED_OVER:
                finish(m, TRANSFER_DONE, "");
                return true;
        case HANDED_NOTHING:
                m->clear = true;
                snprintf(text, sizeof(text), "the guest ended during the migration%s%.400s",
                         why->code ? ": " : "", why->code ? why->msg : "");
                finish(m, TRANSFER_FAILED, text);
                return true;
        case HANDED_UNKNOWN:
                break;
        }
        return false;
}

/* The source lives, paused in the switch-over, and libvirt has forgotten why: the target decides.
 * True when settled. */
static bool after_forgetting(struct move *m, const struct err *why)
{
        struct handover_state s = {.source = HO_SOURCE_FORGOT, .over = m->call_over};
        struct err e;
        autoconnect virConnectPtr c = virt_connect(m->a->virt, &e);

        if (!c || (!m->peer && peer_find(m, &e)))
                return false;
        s.target = handover_look(m, &e);
        switch (handover_decide(&s, NULL)) {
        case HO_END_SOURCE:
                if (domain_destroy(c, m->uuid, &e))
                        return false;
                finish(m, TRANSFER_DONE, "the guest ran on the target already");
                return true;
        case HO_GO_ON: /* in this order */
                if (domain_remove(m->peer, m->uuid, &e) || domain_resume(c, m->uuid, &e))
                        return false;
                stays(m, why);
                return true;
        default:
                return false;
        }
}

static bool source_paused(struct move *m)
{
        struct domain_facts f;
        struct err e;
        autoconnect virConnectPtr c = virt_connect(m->a->virt, &e);

        return c && !domain_read(c, m->uuid, &f, &e) && f.vir_state == VIR_DOMAIN_PAUSED;
}

/* Joins a job that goes on without a call of ours, until it ends. */
static void join(struct move *m)
{
        struct helpers h;
        struct err e;

        if (m->process.pidfd < 0 && open_process(m, &e))
                return;
        if (!m->peer && peer_find(m, &e))
                log_err(&e, "the target cannot be reached yet", "migration", m->key, NULL);
        pthread_mutex_lock(&m->lock);
        m->copied = false;
        pthread_mutex_unlock(&m->lock);
        m->call_over = false;
        m->near = source_paused(m); /* an event that we were not there to hear */
        if (start_helpers(m, &h, &e))
                return;
        while (!m->resumed && look_at_source(m) == HO_SOURCE_COPIES)
                nanosleep(&(struct timespec){.tv_nsec = SETTLE_STEP_MS * 1000000}, NULL);
        end_helpers(m, &h);
}

/* One look and what follows from it; true when settled. waits counts looks at a source that waits.
 */
static bool settle_step(struct move *m, const struct err *why, int *waits)
{
        struct handover_state s = {
                .source = look_at_source(m), .target = HO_TARGET_UNSEEN, .over = m->call_over};

        *waits = s.source == HO_SOURCE_WAITS ? *waits + 1 : 0;
        if (*waits > WAITS_MAX)
                s.source = HO_SOURCE_FORGOT;
        switch (handover_decide(&s, NULL)) {
        case HO_STAYS:
                stays(m, why);
                return true;
        case HO_JOIN:
                join(m);
                return false;
        case HO_LOOK:
                return s.source == HO_SOURCE_DEAD ? after_death(m, why) : after_forgetting(m, why);
        default:
                return false;
        }
}

static void settle(struct move *m, const struct err *why)
{
        struct mono end = mono_add_ms(mono_now(), SETTLE_MS);
        int waits = 0;

        while (!m->resumed && mono_ms_between(mono_now(), end) > 0) {
                if (settle_step(m, why, &waits))
                        return;
                nanosleep(&(struct timespec){.tv_nsec = SETTLE_STEP_MS * 1000000}, NULL);
        }
        if (m->resumed)
                finish(m, TRANSFER_DONE, "");
        else
                finish(m, TRANSFER_LOST, "neither node can say where the guest is");
}

/* The target ran before the source was dead: libvirt knows for how long neither did. */
static void finish_fast(struct move *m)
{
        int64_t downtime_ms = progress_downtime(m);
        char text[300];

        pthread_mutex_lock(&m->lock);
        m->transfer.downtime_ms = downtime_ms;
        snprintf(text, sizeof(text), "the guest runs on %s, by libvirt's own handover (Fast)%s",
                 m->mig->status.target, m->remark);
        pthread_mutex_unlock(&m->lock);
        finish(m, TRANSFER_DONE, text);
}

void move_run(struct move *m)
{
        pthread_t reporter;
        struct err e = {0};

        if (pthread_create(&reporter, NULL, report_run, m)) {
                log_msg(LOG_ERROR, "no thread to report on a migration", "migration", m->key, NULL);
                return;
        }
        log_msg(LOG_INFO, m->rejoin ? "joining a running migration" : "migrating", "migration",
                m->key, "vm", m->vm->meta.name, "target", m->mig->status.target, NULL);
        if (m->rejoin || copy(m, &e))
                settle(m, &e);
        else if (!m->proven)
                finish_fast(m);
        else if (!m->resumed)
                settle(m, &e);
        else
                finish(m, TRANSFER_DONE, "");
        pthread_join(reporter, NULL);
        clear_target(m);
}
