#include "kube/token.h"

#include "base/file.h"

#include <errno.h>
#include <string.h>

void kube_token_free(struct kube_token *t)
{
        free(t->value);
        *t = (struct kube_token){0};
}

int kube_token_parse(const char *text, char **out, struct err *e)
{
        size_t n;

        text += strspn(text, " \t\r\n");
        n = strlen(text);
        while (n && strchr(" \t\r\n", text[n - 1]))
                n--;
        if (!n)
                return err_set(e, -EINVAL, "the token is empty");
        for (size_t i = 0; i < n; i++)
                if (text[i] <= ' ' || text[i] > '~')
                        return err_set(e, -EINVAL,
                                       "the token has a character that no header may carry");
        char *copy = strndup(text, n);
        if (!copy)
                return err_sys(e, -ENOMEM, "read the token");
        *out = copy;
        return 0;
}

static int read_token(const char *path, char **out, struct err *e)
{
        autobuf struct buf b = buf_new(KUBE_TOKEN_MAX);
        int rc = file_read(path, &b, e);

        if (rc < 0)
                return rc;
        rc = kube_token_parse(buf_str(&b), out, e);
        return rc < 0 ? err_wrap(e, "%s", path) : 0;
}

int kube_token_refresh(struct kube_token *t, const char *path, struct mono now, int64_t max_age_ms,
                       bool *changed, struct err *e)
{
        char *fresh;
        int rc;

        if (changed)
                *changed = false;
        if (t->value && mono_ms_between(t->read_at, now) < max_age_ms)
                return 0;
        rc = read_token(path, &fresh, e);
        if (rc < 0)
                return t->value ? 0 : rc;
        if (changed)
                *changed = !t->value || strcmp(t->value, fresh) != 0;
        free(t->value);
        t->value = fresh;
        t->read_at = now;
        return 0;
}
