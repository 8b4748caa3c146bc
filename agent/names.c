#include "agent/names.h"

#include "base/mono.h"
#include "core/preflight.h"

#include <netdb.h>
#include <sys/socket.h>

#define LOOKUPS 5 /* until one is quick */

static int64_t look_up(const char *name)
{
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        struct mono start = mono_now();
        int rc = getaddrinfo(name, NULL, &hints, &found);
        int64_t ms = mono_ms_between(start, mono_now());

        if (!rc)
                freeaddrinfo(found);
        return rc && ms < NAMES_UNRESOLVED_MS ? NAMES_UNRESOLVED_MS : ms;
}

int64_t names_lookup_ms(const char *name)
{
        int64_t quickest = look_up(name);

        for (int i = 1;
             i < LOOKUPS && quickest >= PREFLIGHT_RESOLVE_MS && quickest < NAMES_UNRESOLVED_MS;
             i++) {
                int64_t ms = look_up(name);
                quickest = ms < quickest ? ms : quickest;
        }
        return quickest;
}
