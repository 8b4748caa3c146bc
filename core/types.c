#include "core/types.h"

#include "core/names.h"

#include <string.h>

const char *kvs_get(const struct kvs *m, const char *key)
{
        for (size_t i = 0; i < m->n; i++)
                if (strcmp(m->v[i].key, key) == 0)
                        return m->v[i].value;
        return NULL;
}

bool strs_has(const struct strs *s, const char *value)
{
        for (size_t i = 0; i < s->n; i++)
                if (strcmp(s->v[i], value) == 0)
                        return true;
        return false;
}

const struct condition *condition_get(const struct conditions *c, const char *type)
{
        for (size_t i = 0; i < c->n; i++)
                if (strcmp(c->v[i].type, type) == 0)
                        return &c->v[i];
        return NULL;
}

bool condition_true(const struct conditions *c, const char *type)
{
        const struct condition *found = condition_get(c, type);

        return found && strcmp(found->status, "True") == 0;
}

const char *name_at(const char *const *names, unsigned n, unsigned i)
{
        return i < n ? names[i] : "?";
}

unsigned name_index(const char *const *names, unsigned n, const char *name, unsigned dflt)
{
        for (unsigned i = 0; i < n; i++)
                if (strcmp(names[i], name) == 0)
                        return i;
        return dflt;
}
