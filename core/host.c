#include "core/host.h"

#include "base/cleanup.h"
#include "core/names.h"

#include <stdlib.h>
#include <string.h>

static const char *const HEALTH[] = {"Unknown", "Healthy", "Unhealthy"};
static const char *const SHARINGS[] = {"Unknown", "Shared", "NotShared"};
static const char *const DOMAINS[] = {"Absent",   "Running", "Paused",  "IOError", "Incoming",
                                      "Received", "Shutoff", "Crashed", "Erased",  "Unknown"};

_Static_assert(countof(HEALTH) == MOUNT_UNHEALTHY + 1, "a name each");
_Static_assert(countof(SHARINGS) == SHARING_NOT_SHARED + 1, "a name each");
_Static_assert(countof(DOMAINS) == DOMAIN_UNKNOWN + 1, "a name each");

const char *mount_health_name(enum mount_health h)
{
        return name_at(HEALTH, countof(HEALTH), h);
}

enum mount_health mount_health_parse(const char *s)
{
        return name_index(HEALTH, countof(HEALTH), s, MOUNT_UNKNOWN);
}

const char *sharing_name(enum sharing s)
{
        return name_at(SHARINGS, countof(SHARINGS), s);
}

enum sharing sharing_parse(const char *s)
{
        return name_index(SHARINGS, countof(SHARINGS), s, SHARING_UNKNOWN);
}

const char *domain_state_name(enum domain_state s)
{
        return name_at(DOMAINS, countof(DOMAINS), s);
}

enum domain_state domain_state_parse(const char *s)
{
        return name_index(DOMAINS, countof(DOMAINS), s, DOMAIN_UNKNOWN);
}

bool domain_takes_room(enum domain_state s)
{
        switch (s) {
        case DOMAIN_RUNNING:
        case DOMAIN_PAUSED:
        case DOMAIN_IO_ERROR:
        case DOMAIN_INCOMING:
        case DOMAIN_RECEIVED:
        case DOMAIN_UNKNOWN:
                return true;
        default:
                return false;
        }
}

const struct host_mount *host_mount_of(const struct host *h, const char *pool)
{
        for (size_t i = 0; i < h->nmounts; i++)
                if (strcmp(h->mounts[i].pool, pool) == 0)
                        return &h->mounts[i];
        return NULL;
}

const struct host_peer *host_peer_of(const struct host_mount *m, const char *node)
{
        for (size_t i = 0; i < m->nshared_with; i++)
                if (!strcmp(m->shared_with[i].node, node))
                        return &m->shared_with[i];
        return NULL;
}

const struct host_domain *host_domain_of(const struct host *h, const char *vm_uid)
{
        for (size_t i = 0; i < h->ndomains; i++)
                if (strcmp(h->domains[i].uid, vm_uid) == 0)
                        return &h->domains[i];
        return NULL;
}

bool host_has_cpu_model(const struct host *h, const char *model)
{
        return strs_has(&h->cpu_models, model);
}

long version_cmp(const char *x, const char *y)
{
        while (*x || *y) {
                char *xe, *ye;
                long a = strtol(x, &xe, 10), b = strtol(y, &ye, 10);

                if (a != b)
                        return a - b;
                if (xe == x || ye == y)
                        break;
                x = *xe == '.' ? xe + 1 : xe;
                y = *ye == '.' ? ye + 1 : ye;
        }
        return 0;
}
