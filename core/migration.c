#include "core/migration.h"

#include "base/cleanup.h"
#include "core/names.h"

static const char *const PHASES[] = {"Pending",   "Scheduled",  "Preflight", "Copying",
                                     "Switching", "Confirming", "Succeeded", "Failed",
                                     "Cancelled", "Unknown"};
static const char *const REASONS[] = {"Placement", "Storage", "Drain", "User"};
static const char *const TRANSFERS[] = {"None",   "Running",   "Switched", "Done",
                                        "Failed", "Cancelled", "Lost"};

static const char *const ARRIVALS[] = {"", "None", "Receiving", "Received", "Running"};

_Static_assert(countof(ARRIVALS) == ARRIVAL_RUNNING + 1, "a name each");
_Static_assert(countof(PHASES) == MIG_PHASES, "a name each");
_Static_assert(countof(REASONS) == REASON_USER + 1, "a name each");
_Static_assert(countof(TRANSFERS) == TRANSFER_LOST + 1, "a name each");

#define TO(p) (1U << MIG_##p)

/*
 * Until the copy begins a move may end at any time. From then on the guest is in two hands: it
 * may come back to the source while it is copied, and after that only the way forward is open,
 * or Unknown, from which the answers of both hosts lead back to where the move really is.
 */
static const unsigned MOVES[MIG_PHASES] = {
        [MIG_PENDING] = TO(SCHEDULED) | TO(FAILED) | TO(CANCELLED),
        [MIG_SCHEDULED] = TO(PREFLIGHT) | TO(FAILED) | TO(CANCELLED),
        [MIG_PREFLIGHT] = TO(COPYING) | TO(FAILED) | TO(CANCELLED),
        [MIG_COPYING] = TO(SWITCHING) | TO(FAILED) | TO(CANCELLED) | TO(UNKNOWN),
        [MIG_SWITCHING] = TO(CONFIRMING) | TO(UNKNOWN),
        [MIG_CONFIRMING] = TO(SUCCEEDED) | TO(UNKNOWN),
        [MIG_UNKNOWN] = TO(COPYING) | TO(SWITCHING) | TO(CONFIRMING) | TO(FAILED) | TO(CANCELLED),
};

const char *mig_phase_name(enum mig_phase p)
{
        return name_at(PHASES, countof(PHASES), p);
}

enum mig_phase mig_phase_parse(const char *s)
{
        return *s ? name_index(PHASES, countof(PHASES), s, MIG_UNKNOWN) : MIG_PENDING;
}

bool mig_finished(enum mig_phase p)
{
        return p == MIG_SUCCEEDED || p == MIG_FAILED || p == MIG_CANCELLED;
}

bool mig_stuck(const struct migration *m)
{
        return *m->status.source && m->status.phase < MIG_COPYING && !m->status.permit &&
               m->status.queue_position <= 0;
}

bool mig_may_move(enum mig_phase from, enum mig_phase to)
{
        return (unsigned)from < MIG_PHASES && (unsigned)to < MIG_PHASES && MOVES[from] & 1U << to;
}

const char *mig_reason_name(enum mig_reason r)
{
        return name_at(REASONS, countof(REASONS), r);
}

enum mig_reason mig_reason_parse(const char *s)
{
        return name_index(REASONS, countof(REASONS), s, REASON_USER);
}

const char *arrival_state_name(enum arrival_state s)
{
        return name_at(ARRIVALS, countof(ARRIVALS), s);
}

enum arrival_state arrival_state_parse(const char *s)
{
        return name_index(ARRIVALS, countof(ARRIVALS), s, ARRIVAL_UNSAID);
}

const char *transfer_state_name(enum transfer_state s)
{
        return name_at(TRANSFERS, countof(TRANSFERS), s);
}

enum transfer_state transfer_state_parse(const char *s)
{
        return *s ? name_index(TRANSFERS, countof(TRANSFERS), s, TRANSFER_LOST) : TRANSFER_NONE;
}
