#include "agent/journals.h"

#include "api/codec.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>

static int decode(const struct json *j, void **out, struct err *e)
{
        struct migration *m;
        int rc = migration_decode(j, &m, e);

        if (!rc)
                *out = m;
        return rc;
}

static void undecodable(void *ctx, const char *key, const struct err *e)
{
        (void)ctx;
        log_err(e, "migration is not understood", "migration", key, NULL);
}

static void watch_error(void *ctx, const struct err *e)
{
        (void)ctx;
        log_err(e, "watch of migrations", NULL);
}

int journals_watch(struct agent *a, const char *field,
                   void (*changed)(void *ctx, const void *before, const void *after),
                   struct kube_store **store, struct kube_watch **out, struct err *e)
{
        static const struct kube_store_type TYPE = {.decode = decode, .free = migration_free};
        const struct kube_store_hooks hooks = {changed, undecodable, a};
        char selector[300];

        *store = kube_store_new(&TYPE, &hooks);
        if (!*store)
                return err_set(e, -ENOMEM, "out of memory");
        snprintf(selector, sizeof(selector), "%s=%s", field, a->config.node);
        struct kube_watch_config cfg = kube_store_feed(&KUBE_MIGRATIONS, *store);
        cfg.field_selector = selector;
        cfg.error = watch_error;
        return kube_watch_start(a->kube, &cfg, out, e);
}
