#include "kube/random.h"

#include "base/mono.h"

#include <sys/random.h>

uint64_t kube_random(void)
{
        uint64_t v;

        if (getrandom(&v, sizeof(v), GRND_NONBLOCK) != (ssize_t)sizeof(v))
                v = (uint64_t)mono_now().ns *
                    0x9e3779b97f4a7c15u; /* early boot: good enough for jitter */
        return v;
}
