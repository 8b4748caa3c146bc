#include "agent/agent.h"

#include "agent/pods.h"

#include "kube/queue.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void agent_poke(struct agent *a, int64_t ms, const char *fmt, ...)
{
        char key[KUBE_KEY_MAX];
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(key, sizeof(key), fmt, ap);
        va_end(ap);
        if (ms > 0)
                work_add_after(a->work, key, ms);
        else
                work_add(a->work, key);
}

bool agent_split(const char *rest, char ns[64], char name[254])
{
        const char *slash = strchr(rest, '/');

        if (!slash || slash == rest || slash - rest > 63 || !slash[1] || strlen(slash + 1) > 253)
                return false;
        snprintf(ns, 64, "%.*s", (int)(slash - rest), rest);
        snprintf(name, 254, "%s", slash + 1);
        return true;
}

void agent_domain_changed(struct agent *a, const char *ns, const char *name)
{
        agent_poke(a, 0, "vm/%s/%s", ns, name);
        pods_poke(a, ns, name);
}
