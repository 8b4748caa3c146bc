#include "base/log.h"

#include "base/json.h"
#include "base/mono.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 8192

static const char *const LEVELS[] = {"debug", "info", "warn", "error"};
static const char CUT[] = ",\"cut\":true}\n";

static const char *name = "drover";
static enum log_level threshold = LOG_INFO;

void log_init(const char *component)
{
        const char *want = getenv("DROVER_LOG");

        name = component;
        threshold = LOG_INFO;
        for (size_t i = 0; want && i < countof(LEVELS); i++)
                if (strcmp(want, LEVELS[i]) == 0)
                        threshold = (enum log_level)i;
}

/* ,"key":"value" or nothing; false when it does not fit. */
static bool field(struct buf *b, const char *key, const char *value)
{
        size_t mark = b->len;

        buf_adds(b, mark == 1 ? "" : ",");
        json_quote(b, key);
        buf_adds(b, ":");
        if (value)
                json_quote(b, value);
        else
                buf_adds(b, "null");
        if (!b->failed)
                return true;
        buf_cut(b, mark);
        return false;
}

/*
 * The line lies in an array, not on the heap: what is logged when memory is out is the most wanted.
 * One write, so that lines of several threads do not mix.
 */
static void write_line(enum log_level level, const struct err *e, const char *msg, va_list ap)
{
        char line[LINE_MAX_BYTES], ts[RFC3339_MAX];
        struct buf b = {.data = line, .cap = sizeof(line), .limit = sizeof(line) - sizeof(CUT)};
        const char *key;

        rfc3339_format(wall_us(), 1, ts);
        buf_adds(&b, "{");
        bool whole = field(&b, "ts", ts) && field(&b, "level", LEVELS[level]) &&
                     field(&b, "component", name) && field(&b, "msg", msg) &&
                     (!e || field(&b, "error", e->msg));
        while (whole && (key = va_arg(ap, const char *)))
                whole = field(&b, key, va_arg(ap, const char *));
        b.limit = sizeof(line) - 1;
        buf_adds(&b, whole ? "}\n" : CUT);
        const char *p = line;
        while (b.len) { /* a pipe may take a part */
                ssize_t n = TEMP_FAILURE_RETRY(write(STDERR_FILENO, p, b.len));
                if (n <= 0)
                        return; /* nobody to tell */
                p += n;
                b.len -= (size_t)n;
        }
}

void log_msg(enum log_level level, const char *msg, ...)
{
        va_list ap;

        if (level < threshold)
                return;
        va_start(ap, msg);
        write_line(level, NULL, msg, ap);
        va_end(ap);
}

void log_err(const struct err *e, const char *msg, ...)
{
        static const struct err none;
        va_list ap;

        va_start(ap, msg);
        write_line(LOG_ERROR, e ? e : &none, msg, ap);
        va_end(ap);
}
