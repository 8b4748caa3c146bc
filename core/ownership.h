/*
 * What an agent does about one VM on its node: the pure decision from what the API server says
 * (read fresh), what libvirt says, and whether a migration of the VM is unfinished. The rules stand
 * in one table, the first that fits decides; a test walks through every combination.
 *
 * The rules in words: a guest is started only by the owner, at the owner's epoch, with no
 * unfinished migration about; a running guest of ours is stopped only on wish; a domain is stale,
 * and destroyed, only when the VM is gone or another node owns it at the domain's epoch or later;
 * an incoming guest is nobody's to touch until it is owned, and then it is resumed, never
 * destroyed.
 */
#ifndef DROVER_CORE_OWNERSHIP_H
#define DROVER_CORE_OWNERSHIP_H

#include "core/migration.h"
#include "core/vm.h"

enum own_vm {
        OWN_GONE,   /* no VM with the domain's uid */
        OWN_MINE,   /* status.owner names this node */
        OWN_OTHERS, /* another node, or nobody */
        OWN_VMS
};
enum own_epoch { /* the domain's, seen from the VM's owner epoch */
                 OWN_OLDER,
                 OWN_EQUAL, /* also when there is no domain */
                 OWN_NEWER,
                 OWN_EPOCHS
};
enum own_domain {
        OWN_ABSENT,
        OWN_RUNNING,
        OWN_PAUSED,    /* by a person or an I/O error */
        OWN_RECEIVING, /* incoming migration under way */
        OWN_RECEIVED,  /* incoming migration complete, never resumed */
        OWN_LEFTOVER,  /* likewise, but that migration did not lead here: its memory is of the past
                        */
        OWN_ENDED,     /* defined, not active, the guest powered itself off */
        OWN_CRASHED,   /* defined, not active, for any other reason; never started included */
        OWN_UNSEEN,    /* libvirt does not answer */
        OWN_DOMAINS
};
enum own_want {
        OWN_RUN,     /* runStrategy Always */
        OWN_RERUN,   /* RerunOnFailure */
        OWN_RESTART, /* either, and a restart is due and granted */
        OWN_HALT,    /* Halted, or the VM is being deleted */
        OWN_WANTS
};
enum own_action {
        OWN_KEEP,     /* all is as it should be */
        OWN_START,    /* define anew and start */
        OWN_RESUME,   /* first resume after an incoming migration */
        OWN_STOP,     /* ask the guest, then insist */
        OWN_REBOOT,   /* stop, then start with the shape granted */
        OWN_DESTROY,  /* stale: at once, with its definition */
        OWN_UNDEFINE, /* remove the definition of an inactive domain */
        OWN_LEAVE,    /* not ours to decide, look again later */
        OWN_ACTIONS
};
const char *own_action_name(enum own_action a); /* "keep" ... */

#define OWN_RESTARTED_MAX 127 /* bytes of spec.restartedAt that count */

struct ownership {
        enum own_vm vm;
        enum own_epoch epoch;
        enum own_domain domain;
        enum own_want want;
        bool migrating; /* an unfinished migration of the VM exists */
};

/* The action, and in *rule (may be NULL) the index of the rule that gave it. */
enum own_action ownership_decide(const struct ownership *o, size_t *rule);
size_t ownership_rules(void);

/*
 * Whether a domain was started for this restartedAt. What a domain's metadata cannot carry (beyond
 * OWN_RESTARTED_MAX bytes, control characters) does not count, so that no value restarts for ever.
 */
bool ownership_same_restart(const char *wanted, const char *domain);

/*
 * What a VM (NULL: gone, or another uid) means for a domain of the given uid and epoch on node.
 * restarted_at is what the domain was started with. Fills all but domain and migrating.
 */
void ownership_of(const struct vm *vm, const char *node, bool has_domain, int64_t domain_epoch,
                  const char *restarted_at, struct ownership *out);

#endif
