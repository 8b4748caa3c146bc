#include "core/health.h"

#include "base/cleanup.h"
#include "core/names.h"

#include <errno.h>

static const struct {
        const char *name;
        bool certain; /* a single one leaves no doubt */
        bool reads;
        const char *mend;
} RESULTS[PROBE_RESULTS] = {
        [PROBE_OK] = {"Healthy", false, true, ""},
        [PROBE_NOT_MOUNTED] = {"NotMounted", true, false,
                               "Mount the pool on the node; nothing is written to the bare "
                               "directory meanwhile."},
        [PROBE_WRONG_EXPORT] = {"WrongExport", true, false,
                                "Unmount it once no guest uses it, and mount the right export."},
        [PROBE_READ_ONLY] = {"ReadOnly", true, true,
                             "Mount it rw, and look whether the server exports it rw and its own "
                             "disk is writable."},
        [PROBE_STALE] = {"Stale", true, false,
                         "The server has exported it anew: mount it again once no guest uses it."},
        [PROBE_FULL] = {"Full", false, true,
                        "Make room in the pool, or enlarge it or its quota on the server."},
        [PROBE_HUNG] = {"Hung", false, false,
                        "Look at the server and the network between; the mount answers by itself "
                        "when they do."},
        [PROBE_STUCK] = {"Stuck", true, false,
                         "Look at the server and the network between; the kernel lets go when "
                         "they are back."},
        [PROBE_SLOW] = {"Slow", false, true,
                        "Look at the load of the server and of the network, or raise MOUNT_SLOW_MS "
                        "of the agent."},
        [PROBE_SERVER_SILENT] = {"ServerSilent", false, false,
                                 "Start the server, or open the way to its port; guests go on by "
                                 "themselves when it is back."},
        [PROBE_IO_ERROR] = {"IOError", false, true, "Look at the disks and the log of the server."},
        [PROBE_FORBIDDEN] = {"Forbidden", false, true,
                             "Export it to this node with rw and no_root_squash."},
        [PROBE_FAILED] = {"ProbeFailed", false, false,
                          "The agent could not look: its log and the memory of the node say why."},
};

const char *probe_result_name(enum probe_result r)
{
        return (unsigned)r < PROBE_RESULTS ? RESULTS[r].name : "?";
}

enum probe_result probe_result_parse(const char *name)
{
        const char *names[PROBE_RESULTS];

        for (size_t i = 0; i < PROBE_RESULTS; i++)
                names[i] = RESULTS[i].name;
        return name_index(names, PROBE_RESULTS, name, PROBE_FAILED);
}

const char *probe_result_mend(enum probe_result r)
{
        return (unsigned)r < PROBE_RESULTS ? RESULTS[r].mend : "";
}

bool probe_result_reads(enum probe_result r)
{
        return (unsigned)r < PROBE_RESULTS && RESULTS[r].reads;
}

enum probe_result probe_result_of(int error)
{
        switch (error) {
        case ENODEV:
                return PROBE_NOT_MOUNTED;
        case EROFS:
                return PROBE_READ_ONLY;
        case ESTALE:
                return PROBE_STALE;
        case ENOSPC:
        case EDQUOT:
                return PROBE_FULL;
        case EACCES:
        case EPERM:
                return PROBE_FORBIDDEN;
        case ENOTCONN:
        case ECONNREFUSED:
        case ECONNABORTED:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ETIMEDOUT:
                return PROBE_SERVER_SILENT;
        case ENOMEM:
        case EMFILE:
        case ENFILE:
                return PROBE_FAILED;
        default:
                return PROBE_IO_ERROR;
        }
}

enum probe_result health_judge(const struct health_limits *l, int64_t latency_us,
                               int64_t free_bytes, int64_t free_inodes, bool counts_inodes)
{
        if (free_bytes < l->min_free_bytes || (counts_inodes && free_inodes < l->min_free_inodes))
                return PROBE_FULL;
        return l->slow_ms && latency_us > l->slow_ms * 1000 ? PROBE_SLOW : PROBE_OK;
}

static int good_limit(const struct health *h, const struct health_limits *l)
{
        return (int)l->good << h->relapses;
}

static bool became(struct health *h, enum mount_health state, int64_t now_ms)
{
        if (h->state == state)
                return false;
        if (state == MOUNT_HEALTHY)
                h->healthy_since_ms = now_ms;
        h->state = state;
        return true;
}

static bool step_good(struct health *h, const struct health_limits *l, int64_t now_ms)
{
        h->bad = 0;
        h->good++;
        if (h->state == MOUNT_UNHEALTHY && h->good < good_limit(h, l))
                return false;
        if (h->state == MOUNT_HEALTHY && now_ms - h->healthy_since_ms >= HEALTH_FORGIVE_MS)
                h->relapses = 0;
        return became(h, MOUNT_HEALTHY, now_ms);
}

static bool step_bad(struct health *h, const struct health_limits *l, enum probe_result r,
                     int64_t now_ms)
{
        h->good = 0;
        h->bad++;
        if (h->state == MOUNT_HEALTHY && h->bad < l->bad && !RESULTS[r].certain)
                return false;
        if (h->state == MOUNT_HEALTHY) {
                if (now_ms - h->healthy_since_ms >= HEALTH_FORGIVE_MS)
                        h->relapses = 0;
                else if (h->relapses < HEALTH_RELAPSE_MAX)
                        h->relapses++;
        }
        return became(h, MOUNT_UNHEALTHY, now_ms);
}

bool health_step(struct health *h, const struct health_limits *l, enum probe_result r,
                 int64_t now_ms)
{
        h->last = r;
        return r == PROBE_OK ? step_good(h, l, now_ms) : step_bad(h, l, r, now_ms);
}

const char *health_verdict(const struct health *h)
{
        if (h->state == MOUNT_UNKNOWN)
                return "NotProbedYet";
        if (h->state == MOUNT_HEALTHY)
                return RESULTS[PROBE_OK].name;
        return h->last == PROBE_OK ? HEALTH_RECOVERING : probe_result_name(h->last);
}

int health_needed(const struct health *h, const struct health_limits *l)
{
        return h->state == MOUNT_UNHEALTHY ? good_limit(h, l) - h->good : 0;
}

int64_t health_next_ms(const struct health *h, const struct health_limits *l)
{
        bool confirm = (h->state == MOUNT_HEALTHY && h->bad > 0) ||
                       (h->state == MOUNT_UNHEALTHY && h->good > 0);

        return confirm && l->period_ms > HEALTH_CONFIRM_MS ? HEALTH_CONFIRM_MS : l->period_ms;
}
