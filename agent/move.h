/*
 * One migration seen from its source. Four threads while it copies: the move itself, which sits in
 * libvirt's call (move.c); the handover, which waits for the source's death and resumes the target
 * (handover.c); the progress, which looks at the job, widens the allowed pause and aborts
 * (progress.c); and the report, which writes status.transfer (report.c). The move outlives the
 * others. Before libvirt is asked to copy, two more seek the proof that it may, and connect to the
 * target (peer.c).
 */
#ifndef DROVER_AGENT_MOVE_H
#define DROVER_AGENT_MOVE_H

#include "agent/agent.h"
#include "agent/carry.h"
#include "agent/claimpath.h"
#include "agent/errand.h"
#include "agent/proc.h"
#include "agent/stoplog.h"
#include "agent/sync.h"
#include "base/mono.h"
#include "core/handover.h"
#include "core/host.h"
#include "core/migration.h"

struct move {
        struct move *next; /* of the registry */
        struct agent *a;
        char key[340]; /* "NS/NAME" of the migration */
        struct migration *mig;
        struct vm *vm;
        bool rejoin;      /* an earlier agent began it */
        const char *uuid; /* the VM's uid */
        char libvirt_name[128];

        /* how to reach the target */
        char peer_uri[AGENT_URI_MAX], migration_uri[300];
        virConnectPtr peer; /* the move's own until the handover starts, then the handover's */
        struct errand proof, link;      /* of sharedness; peer, until it is there */
        struct carried carried;         /* backs transfer.disks, once the proof is there */
        char claims_pod[CLAIM_UID_MAX]; /* the target's pod, of a VM with claims; else "" */
        bool clear;                     /* the guest stays here: the target is to be cleared */
        bool proven;                    /* we resume the target; else libvirt does */
        struct guest_process process;   /* pidfd -1: none */
        struct stoplog stoplog;         /* since the process was opened */

        int near_fd;           /* eventfd: the switch-over is near, or the handover is to end */
        atomic_bool near;      /* the source's CPUs have stopped */
        atomic_bool call_over; /* nothing more will come from libvirt: the handover may end */
        atomic_bool resumed;   /* the target runs */

        pthread_mutex_t lock; /* what follows */
        pthread_cond_t wake;
        bool cancel, timed_out; /* asked to end, or over its time */
        bool finished;          /* transfer holds the outcome */
        bool copied;            /* libvirt's call has returned */
        struct transfer transfer;
        char message[512];         /* backs transfer.message */
        const char *remark;        /* on how the copy ended, for the last message; "" for none */
        struct mono paused, began; /* paused.ns 0: not yet */
        int iteration;
};

/* Takes mig and vm over. */
must_check int move_new(struct agent *a, struct migration *mig, struct vm *vm, bool rejoin,
                        struct move **out, struct err *e);
void move_free(struct move *m);
/* Runs it to its end on the calling thread; the outcome is in transfer. */
void move_run(struct move *m);

/* The source has ended, and libvirtd has written that it ended it because the guest had moved: it
 * has not run on after the copy was complete. False when that is not known. */
bool move_left(const struct move *m);

/* Likewise, and where the log does not say it, libvirt is asked, which may take as long as it takes
 * to end the process. */
must_check int move_why_ended(struct move *m, enum ho_word *out, struct err *e);

/* Puts text into the transfer's message. Lock held. */
void move_say(struct move *m, const char *fmt, ...) printf_like(2, 3);

/* --- peer.c: the other side */

/*
 * Where the target is. Its libvirtd by its name, never by what its host object says: TLS proves the
 * name that is asked for, and whoever can write the object could have another one asked for. The
 * memory goes to the address that the object says, an IP; there TLS asks for the node's name again.
 * -EINVAL for an address that is none; then nothing is written.
 */
must_check int peer_addresses(const struct agent_config *c, const char *target,
                              const struct host *h, char peer_uri[AGENT_URI_MAX],
                              char migration_uri[300], struct err *e);

/*
 * What takes its time is begun while everything else is made ready, and before the first word of
 * the move is written, since it changes nothing: the connection to the target's libvirtd, and the
 * evidence that both sides see the same disks. No byte is copied without the evidence: libvirt is
 * asked for nothing before it has ended well.
 */
must_check int peer_begin(struct move *m, struct err *e);
/* Waits for both, and says what came of the proof. Then it is known where the memory goes, and
 * whose the handover is (m->proven). */
must_check int peer_end(struct move *m, struct err *e);
/* Waits for the connection; then nothing of an earlier move is left at its other end, and the
 * guest's claims are mounted there. The guest runs here. */
must_check int peer_prepare(struct move *m, struct err *e);
/*
 * A domain's XML as the target is to have it: with that metadata, and with the claims' paths that
 * they have there. What runs counts, whatever became since of the pod that it was started for.
 */
must_check int peer_xml(const struct move *m, const char *xml, const struct domain_meta *meta,
                        struct buf *out, struct err *e);
/* Only where the target's libvirtd is, and the connection. */
must_check int peer_find(struct move *m, struct err *e);
/*
 * Removes what a migration left on the target of a guest that runs here and whose copy must
 * therefore never run there. -EEXIST, and nothing is touched, when a domain runs there or is not
 * ours.
 */
must_check int peer_clear(struct move *m, struct err *e);

/* --- handover.c */

enum handed {
        HANDED_OVER,    /* the target runs */
        HANDED_NOTHING, /* the target is not there, or did not receive the whole guest: never
                           resumed */
        HANDED_UNKNOWN  /* the target cannot be asked */
};
/*
 * Resumes the target, whose source must be dead, when core/handover.h says so. Tries for as long as
 * only locks, the connection or an answer of libvirt's stand in the way, up to ms.
 */
enum handed handover_resume(struct move *m, int64_t ms);
/* What is on the target now. */
enum ho_target handover_look(struct move *m, struct err *e);
/* The thread: waits for the source's death, then handover_resume. */
void *handover_run(void *move);
/* Wakes the thread up. */
void handover_wake(struct move *m);

/* --- progress.c, report.c: threads, until move.finished */
void *progress_run(void *move);
/* How long libvirt says that the guest stood still in a copy that is over, by the target; 0:
 * unknown. */
int64_t progress_downtime(struct move *m);
void *report_run(void *move);
/* Writes transfer; with rv (may be NULL) as a compare-and-swap. */
must_check int report_write(struct kube_client *kube, const struct migration *m, const char *rv,
                            const struct transfer *t, struct err *e);

#endif
