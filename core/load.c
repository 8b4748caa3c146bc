#include "core/load.h"

static int64_t sum(int64_t a, int64_t b)
{
        return (int64_t)((uint64_t)a + (uint64_t)b);
}

static int64_t difference(int64_t a, int64_t b)
{
        return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t greater(int64_t a, int64_t b)
{
        return a > b ? a : b;
}

static int64_t excess(int64_t a, int64_t b)
{
        return a > b ? difference(a, b) : 0;
}

static struct capacity_load each(int64_t (*f)(int64_t a, int64_t b), const struct capacity_load *x,
                                 const struct capacity_load *y)
{
        return (struct capacity_load){
                .guests = f(x->guests, y->guests),
                .cores = f(x->cores, y->cores),
                .memory = f(x->memory, y->memory),
                .huge_2mi = f(x->huge_2mi, y->huge_2mi),
                .huge_1gi = f(x->huge_1gi, y->huge_1gi),
        };
}

struct capacity_load load_of_shape(const struct vm_shape *shape)
{
        const struct capacity_demand d = capacity_shape_demand(shape);
        struct capacity_load out = {0};

        capacity_load_add(&out, &d);
        return out;
}

void load_add(struct capacity_load *s, const struct capacity_load *x)
{
        *s = each(sum, s, x);
}

void load_take(struct capacity_load *s, const struct capacity_load *x)
{
        *s = each(difference, s, x);
}

struct capacity_load load_max(const struct capacity_load *x, const struct capacity_load *y)
{
        return each(greater, x, y);
}

bool load_within(const struct capacity_load *x, const struct capacity_load *y)
{
        return x->guests <= y->guests && x->cores <= y->cores && x->memory <= y->memory &&
               x->huge_2mi <= y->huge_2mi && x->huge_1gi <= y->huge_1gi;
}

struct capacity_load load_owed(const struct capacity_load *want, const struct host_domain *d,
                               const struct vm_shape *has)
{
        struct vm_shape reported = *has;
        struct capacity_load there;

        if (!d || !domain_takes_room(d->state))
                return *want;
        if (d->cores > 0)
                reported.cores = d->cores;
        if (d->memory > 0)
                reported.memory = d->memory;
        there = load_of_shape(&reported);
        return each(excess, want, &there);
}
