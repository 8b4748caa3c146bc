#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Ends a message that did not fit with "...", without splitting a UTF-8 sequence. */
static void cut(char *msg)
{
        size_t n = ERR_MSG_MAX - sizeof("...");

        while (n > 0 && ((unsigned char)msg[n] & 0xC0) == 0x80)
                n--;
        memcpy(msg + n, "...", sizeof("..."));
}

static int compose(struct err *e, int code, const char *tail, const char *fmt, va_list ap)
        printf_like(4, 0);

/* The new message may be made from the old one, so it is composed aside. */
static int compose(struct err *e, int code, const char *tail, const char *fmt, va_list ap)
{
        char msg[ERR_MSG_MAX] = "";
        int n = vsnprintf(msg, sizeof(msg), fmt, ap);
        size_t len = n < 0 ? 0 : (size_t)n;

        if (tail && len < sizeof(msg)) {
                n = snprintf(msg + len, sizeof(msg) - len, ": %s", tail);
                len += n < 0 ? 0 : (size_t)n;
        }
        if (len >= sizeof(msg))
                cut(msg);
        memcpy(e->msg, msg, sizeof(msg));
        e->code = code;
        return code;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
        va_list ap;

        if (code >= 0) /* a caller's slip must not turn a failure into a success */
                code = -EIO;
        if (!e)
                return code;
        va_start(ap, fmt);
        compose(e, code, NULL, fmt, ap);
        va_end(ap);
        e->http = 0;
        return code;
}

int err_sys(struct err *e, int code, const char *fmt, ...)
{
        va_list ap;

        if (code >= 0)
                code = -EIO;
        if (!e)
                return code;
        const char *text = strerrordesc_np(-code);
        va_start(ap, fmt);
        compose(e, code, text ? text : "unknown error", fmt, ap);
        va_end(ap);
        e->http = 0;
        return code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
        va_list ap;

        if (!e)
                return -EIO;
        va_start(ap, fmt);
        compose(e, e->code < 0 ? e->code : -EIO, e->msg, fmt, ap);
        va_end(ap);
        return e->code;
}
