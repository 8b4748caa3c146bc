#include "migrator/worker.h"

#include "base/log.h"

#include <errno.h>

#define ROUNDS_MAX 16 /* in a row for one VM, each seeing what the last one wrote */

int worker_vm(const struct actor *actor, const struct permit_limits *limits, const char *key,
              struct err *e)
{
        struct world *w = actor->world;
        bool again = true;

        for (int round = 0; again && round < ROUNDS_MAX; round++) {
                struct gathered g cleanup(gathered_free) = {0};
                struct rec_output out;
                int rc = gather(w, limits, key, &g, e);

                again = false;
                if (rc == -ENOENT)
                        return 0;
                if (rc == 0 && (rc = reconcile(g.arena, &g.in, &out)) < 0)
                        err_sys(e, rc, "plan");
                if (rc == 0 && out.defect)
                        log_msg(LOG_ERROR, "a move was not made: this is a defect of Drover's",
                                "vm", key, "move", out.defect, NULL);
                if (rc == 0)
                        rc = act_all(actor, &g, &out, &again, e);
                if (rc < 0)
                        return rc;
                if (out.again_ms)
                        kube_queue_add_after(w->queue, key, out.again_ms);
        }
        return 0;
}
