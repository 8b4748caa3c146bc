#include "core/doctor.h"

#include "core/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SAYS_MAX 1024

static const char *const CHECKS[DOCTOR_CHECKS] = {
        [0] = "?",
        [DOCTOR_COMPONENTS] = "components",
        [DOCTOR_CRDS] = "crds",
        [DOCTOR_ADMISSION] = "admission",
        [DOCTOR_SECRETS] = "certificates",
        [DOCTOR_SCHEDULER] = "scheduler",
        [DOCTOR_AGENTS] = "agents",
        [DOCTOR_HOSTS] = "hosts",
        [DOCTOR_HEARTBEAT] = "heartbeat",
        [DOCTOR_SESSION] = "session",
        [DOCTOR_POOL_HEALTH] = "pool-health",
        [DOCTOR_POOL_MOUNT] = "pool-mount",
        [DOCTOR_POOL_OPTIONS] = "pool-options",
        [DOCTOR_POOL_WRITE] = "pool-write",
        [DOCTOR_POOL_SPACE] = "pool-space",
        [DOCTOR_LIBVIRT] = "libvirt",
        [DOCTOR_PKI] = "libvirt-certificates",
        [DOCTOR_ARRIVALS] = "arrivals",
        [DOCTOR_PEERS] = "peers",
        [DOCTOR_KVM] = "kvm",
        [DOCTOR_QEMU] = "qemu",
        [DOCTOR_BRIDGES] = "bridges",
        [DOCTOR_NAMES] = "names",
        [DOCTOR_TIME] = "time",
        [DOCTOR_SHARED] = "pool-shared",
        [DOCTOR_LOCKS] = "pool-locks",
        [DOCTOR_TIDY] = "tidy",
};
static const char *const DOCTOR_VERDICT_NAMES[DOCTOR_VERDICTS] = {"ok", "warning", "fault"};

const char *doctor_check_name(unsigned check)
{
        return name_at(CHECKS, DOCTOR_CHECKS, check);
}

const char *doctor_verdict_name(unsigned v)
{
        return name_at(DOCTOR_VERDICT_NAMES, DOCTOR_VERDICTS, v);
}

enum doctor_verdict doctor_verdict_parse(const char *s)
{
        return (enum doctor_verdict)name_index(DOCTOR_VERDICT_NAMES, DOCTOR_VERDICTS, s,
                                               DOCTOR_FAULT);
}

struct findings findings_new(struct arena *a, size_t max)
{
        struct findings f = {.arena = a, .max = max};

        f.v = arena_array(a, max, sizeof(*f.v));
        f.failed = !f.v;
        return f;
}

void findings_add(struct findings *f, unsigned check, const char *node, const char *subject,
                  enum doctor_verdict v, const char *mend, const char *says, ...)
{
        char text[SAYS_MAX];
        va_list ap;

        va_start(ap, says);
        vsnprintf(text, sizeof(text), says, ap);
        va_end(ap);
        f->failed |= !f->v || f->n == f->max;
        if (f->failed)
                return;
        struct finding *x = &f->v[f->n];
        *x = (struct finding){
                .check = check,
                .verdict = v,
                .node = arena_strdup(f->arena, node),
                .subject = arena_strdup(f->arena, subject),
                .says = arena_strdup(f->arena, text),
                .mend = v == DOCTOR_OK || !mend ? "" : arena_strdup(f->arena, mend),
        };
        f->failed = !x->node || !x->subject || !x->says || !x->mend;
        f->n += !f->failed;
}

enum doctor_verdict findings_worst(const struct findings *f)
{
        enum doctor_verdict worst = DOCTOR_OK;

        for (size_t i = 0; i < f->n; i++)
                if (f->v[i].verdict > worst)
                        worst = f->v[i].verdict;
        return worst;
}

/* How far apart two clocks are at the least; 0 when they may agree. */
static int64_t apart(const struct clock_range *a, const struct clock_range *b)
{
        if (a->low_us > b->high_us)
                return a->low_us - b->high_us;
        return b->low_us > a->high_us ? b->low_us - a->high_us : 0;
}

void doctor_judge_clocks(const struct clock_range *c, size_t n, struct findings *f)
{
        int64_t least = 0, width = 0;
        size_t x = 0, y = 0;

        for (size_t i = 0; i < n; i++) {
                if (c[i].high_us - c[i].low_us > width)
                        width = c[i].high_us - c[i].low_us;
                for (size_t j = i + 1; j < n; j++) {
                        if (apart(&c[i], &c[j]) > least) {
                                least = apart(&c[i], &c[j]);
                                x = i;
                                y = j;
                        }
                }
        }
        if (n < 2)
                return;
        if (least > DOCTOR_SKEW_US)
                findings_add(f, DOCTOR_TIME, c[x].node, c[y].node, DOCTOR_WARNING,
                             "Let all nodes follow the same time servers (chronyd or "
                             "systemd-timesyncd).",
                             "the clocks of %s and %s are at least %.1f s apart", c[x].node,
                             c[y].node, (double)least / 1e6);
        else
                findings_add(f, DOCTOR_TIME, "", "", DOCTOR_OK, NULL,
                             "the clocks of %zu nodes agree, as far as asking them shows (to "
                             "%.3f s)",
                             n, (double)(least + 2 * width) / 1e6);
}
