#include "core/labels.h"

#include <string.h>

bool labels_reserved(const char *key)
{
        return !strcmp(key, DROVER_VM_LABEL) || !strcmp(key, DROVER_UID_ANNOTATION) ||
               !strcmp(key, DROVER_GUEST_LABEL);
}

bool labels_listed(const char *list, const char *key)
{
        size_t len = strlen(key);

        for (const char *s = list; *s; s += *s == ',') {
                size_t n = strcspn(s, ",");

                if (n == len && !strncmp(s, key, n))
                        return true;
                s += n;
        }
        return false;
}

static size_t keys(const char *list)
{
        size_t n = *list ? 1 : 0;

        for (; *list; list++)
                n += *list == ',';
        return n;
}

bool labels_stale(const struct vm *vm, const struct pod *pod)
{
        const char *list = kvs_get(&pod->meta.annotations, DROVER_LABELS_ANNOTATION);
        size_t n = 0;

        list = list ? list : "";
        for (size_t i = 0; i < vm->meta.labels.n; i++) {
                const struct kv *l = &vm->meta.labels.v[i];
                const char *has = kvs_get(&pod->meta.labels, l->key);

                if (labels_reserved(l->key))
                        continue;
                if (!has || strcmp(has, l->value) != 0 || !labels_listed(list, l->key))
                        return true;
                n++;
        }
        return n != keys(list); /* the VM has lost one */
}
