#include "core/node.h"

#include "base/cleanup.h"
#include "core/names.h"

static const char *const PHASES[] = {"Pending", "Running", "Succeeded", "Failed", "Unknown"};

_Static_assert(countof(PHASES) == POD_UNKNOWN + 1, "a name each");

enum pod_phase pod_phase_parse(const char *s)
{
        return *s ? name_index(PHASES, countof(PHASES), s, POD_UNKNOWN) : POD_PENDING;
}

const char *pod_phase_name(enum pod_phase p)
{
        return name_at(PHASES, countof(PHASES), p);
}
