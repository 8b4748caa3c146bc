#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void cut(char *msg, int n)
{
        if (n >= ERR_MSG_MAX)
                memcpy(msg + ERR_MSG_MAX - 4, "...", 4);
}

static void format(struct err *e, const char *fmt, va_list ap)
{
        cut(e->msg, vsnprintf(e->msg, sizeof(e->msg), fmt, ap));
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
        if (e) {
                va_list ap;

                e->code = code;
                e->http = 0;
                va_start(ap, fmt);
                format(e, fmt, ap);
                va_end(ap);
        }
        return code;
}

int err_sys(struct err *e, int code, const char *fmt, ...)
{
        if (e) {
                va_list ap;
                size_t len;

                e->code = code;
                e->http = 0;
                va_start(ap, fmt);
                format(e, fmt, ap);
                va_end(ap);
                len = strlen(e->msg);
                cut(e->msg, (int)len + snprintf(e->msg + len, sizeof(e->msg) - len, ": %s",
                                                strerrordesc_np(-code)));
        }
        return code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
        char inner[ERR_MSG_MAX];
        va_list ap;
        size_t len;

        if (!e)
                return -EIO;
        memcpy(inner, e->msg, sizeof(inner));
        va_start(ap, fmt);
        format(e, fmt, ap);
        va_end(ap);
        len = strlen(e->msg);
        cut(e->msg, (int)len + snprintf(e->msg + len, sizeof(e->msg) - len, ": %s", inner));
        return e->code;
}
