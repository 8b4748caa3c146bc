#include "core/mountopts.h"

#include <errno.h>
#include <string.h>

int mountopts_next(const char **p, struct mountopt *out, struct err *e)
{
        const char *at = *p;
        size_t len = strcspn(at, ","), key = strcspn(at, ",=");
        size_t value = key < len ? len - key - 1 : 0;

        *p += len + (at[len] == ',');
        if (!key || key >= MOUNTOPTS_KEY_MAX || value >= MOUNTOPTS_VALUE_MAX ||
            memchr(at, '"', len))
                return err_set(e, -EINVAL, "\"%.*s\" is no mount option",
                               (int)(len < 64 ? len : 64), at);
        memcpy(out->key, at, key);
        out->key[key] = '\0';
        memcpy(out->value, at + len - value, value);
        out->value[value] = '\0';
        return 0;
}

bool mountopts_same_key(const char *a, const char *b)
{
        a = !strcmp(a, "nfsvers") ? "vers" : a;
        b = !strcmp(b, "nfsvers") ? "vers" : b;
        return !strcmp(a, b);
}

bool mountopts_get(const char *options, const char *key, struct mountopt *out)
{
        bool found = false;
        struct mountopt o;

        while (*options)
                if (!mountopts_next(&options, &o, NULL) && mountopts_same_key(o.key, key)) {
                        *out = o;
                        found = true;
                }
        return found;
}

static const char LOCAL[] = "locks would not reach the other nodes";

enum mountopts_flaw mountopts_judge(const struct mountopt *o, const char **text)
{
        static const struct {
                const char *key;
                enum mountopts_flaw flaw;
                const char *why;
        } BAD[] = {
                {"soft", MOUNTOPTS_SOFT, "guests would get I/O errors when the server is slow"},
                {"softerr", MOUNTOPTS_SOFT, "guests would get I/O errors when the server is slow"},
                {"nolock", MOUNTOPTS_LOCAL_LOCKS, LOCAL},
                {"ro", MOUNTOPTS_READ_ONLY, "guests write"},
                {"remount", MOUNTOPTS_NO_MOUNT, "nothing is mounted anew here"},
                {"bind", MOUNTOPTS_NO_MOUNT, "nothing of this node is mounted here"},
                {"bg", MOUNTOPTS_NO_MOUNT, "attempts are repeated as it is"},
        };

        for (size_t i = 0; i < countof(BAD); i++)
                if (!strcmp(o->key, BAD[i].key)) {
                        *text = BAD[i].why;
                        return BAD[i].flaw;
                }
        if (!strcmp(o->key, "local_lock") && strcmp(o->value, "none") != 0) {
                *text = LOCAL;
                return MOUNTOPTS_LOCAL_LOCKS;
        }
        if (mountopts_same_key(o->key, "vers") && *o->value != '4') {
                *text = "locks are part of version 4 alone";
                return MOUNTOPTS_OLD_VERSION;
        }
        return MOUNTOPTS_FINE;
}

bool mountopts_local_locks(const char *fstype, const char *options, struct mountopt *out)
{
        const char *why;
        struct mountopt o;

        if (strcmp(fstype, "nfs") != 0 && strcmp(fstype, "nfs4") != 0)
                return false;
        while (*options)
                if (!mountopts_next(&options, &o, NULL) &&
                    mountopts_judge(&o, &why) == MOUNTOPTS_LOCAL_LOCKS) {
                        *out = o;
                        return true;
                }
        return false;
}
