/* Monotonic time as a type of its own, so that it cannot be mixed with wall-clock seconds. */
#ifndef DROVER_BASE_MONO_H
#define DROVER_BASE_MONO_H

#include <stdint.h>

struct mono {
        int64_t ns;
};

struct mono mono_now(void);
/* Since some moment that is the same for this machine until it is booted again. */
static inline int64_t mono_ms(struct mono t)
{
        return t.ns / 1000000;
}
static inline int64_t mono_ms_between(struct mono from, struct mono to)
{
        return (to.ns - from.ns) / 1000000;
}
static inline struct mono mono_add_ms(struct mono t, int64_t ms)
{
        return (struct mono){t.ns + ms * 1000000};
}

#define RFC3339_MAX 40
/* Wall clock in microseconds since 1970. */
int64_t wall_us(void);
/* "2026-01-02T03:04:05Z" (seconds) or with six decimals (micro, the MicroTime of Leases). */
void rfc3339_format(int64_t us, int micro, char out[RFC3339_MAX]);
/* 0 or -EINVAL; accepts fractions and Z or a numeric offset. */
int rfc3339_parse(const char *s, int64_t *us);

#endif
