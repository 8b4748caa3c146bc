#include "agent/errand.h"

#include <errno.h>

static void *run(void *errand)
{
        struct errand *x = errand;

        x->rc = x->run(x->ctx, &x->error);
        return NULL;
}

int errand_begin(struct errand *x, int (*f)(void *ctx, struct err *e), void *ctx, struct err *e)
{
        *x = (struct errand){.run = f, .ctx = ctx};
        x->begun = !pthread_create(&x->thread, NULL, run, x);
        return x->begun ? 0 : err_set(e, -EAGAIN, "no thread");
}

int errand_end(struct errand *x, struct err *e)
{
        if (!x->begun)
                return 0;
        pthread_join(x->thread, NULL);
        x->begun = false;
        if (x->rc)
                *e = x->error;
        return x->rc;
}

void errand_drop(struct errand *x)
{
        struct err ignored;

        int rc = errand_end(x, &ignored);
        (void)rc;
}
