#include "base/json.h"

/* 0 or -1 when out of memory. */
static int changed(struct json *patch, const struct json *was, const struct json *is)
{
        const char *key = json_key(is);
        struct json *inner;

        if (json_equal(was, is))
                return 0;
        if (json_type(was) != JSON_OBJECT || json_type(is) != JSON_OBJECT)
                return json_set(patch, key, json_clone(is)) ? 0 : -1;
        inner = json_merge_diff(was, is);
        return json_set(patch, key, inner) ? 0 : -1;
}

struct json *json_merge_diff(const struct json *from, const struct json *to)
{
        struct json *patch = json_new_object();
        int rc = patch ? 0 : -1;

        for (const struct json *c = json_first(to); rc == 0 && c; c = json_next(c))
                rc = changed(patch, json_get(from, json_key(c)), c);
        for (const struct json *c = json_first(from); rc == 0 && c; c = json_next(c))
                if (!json_get(to, json_key(c)) && !json_set(patch, json_key(c), json_new_null()))
                        rc = -1;
        if (rc == 0)
                return patch;
        json_free(patch);
        return NULL;
}
