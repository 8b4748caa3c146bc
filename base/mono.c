#include "base/mono.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define US 1000000

struct mono mono_now(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (struct mono){(int64_t)t.tv_sec * 1000000000 + t.tv_nsec};
}

int64_t wall_us(void)
{
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t)t.tv_sec * US + t.tv_nsec / 1000;
}

void rfc3339_format(int64_t us, int micro, char out[RFC3339_MAX])
{
        int64_t part = us % US;
        time_t t = us / US;
        struct tm tm;

        if (part < 0) {
                part += US;
                t--;
        }
        gmtime_r(&t, &tm);
        size_t n = strftime(out, RFC3339_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
        if (micro)
                snprintf(out + n, RFC3339_MAX - n, ".%06dZ", (int)part);
        else
                snprintf(out + n, RFC3339_MAX - n, "Z");
}

/* Reads exactly n digits and then the character `end` (0: none). */
static bool number(const char **s, int n, char end, int *out)
{
        const char *p = *s;

        for (*out = 0; n > 0; n--, p++) {
                if (*p < '0' || *p > '9')
                        return false;
                *out = *out * 10 + (*p - '0');
        }
        if (end && *p++ != end)
                return false;
        *s = p;
        return true;
}

/* Z or +hh:mm or -hh:mm, as seconds east of UTC. */
static bool offset(const char **s, int *out)
{
        int h, m, sign = **s == '-' ? -1 : 1;

        *out = 0;
        if (**s == 'Z') {
                ++*s;
                return true;
        }
        if (*(*s)++ != '+' && sign > 0)
                return false;
        if (!number(s, 2, ':', &h) || !number(s, 2, 0, &m) || h > 23 || m > 59)
                return false;
        *out = sign * (h * 3600 + m * 60);
        return true;
}

int rfc3339_parse(const char *s, int64_t *us)
{
        struct tm tm = {0};
        int year, month, frac = 0, east;

        if (!number(&s, 4, '-', &year) || !number(&s, 2, '-', &month) ||
            !number(&s, 2, 'T', &tm.tm_mday) || !number(&s, 2, ':', &tm.tm_hour) ||
            !number(&s, 2, ':', &tm.tm_min) || !number(&s, 2, 0, &tm.tm_sec))
                return -EINVAL;
        if (*s == '.') {
                int unit = US / 10;
                if (*++s < '0' || *s > '9')
                        return -EINVAL;
                for (; *s >= '0' && *s <= '9'; s++, unit /= 10)
                        frac += (*s - '0') * unit;
        }
        if (!offset(&s, &east) || *s || month < 1 || month > 12 || tm.tm_mday < 1 ||
            tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 59)
                return -EINVAL;
        tm.tm_year = year - 1900;
        tm.tm_mon = month - 1;
        int day = tm.tm_mday;
        time_t t = timegm(&tm); /* moves February 30 into March */
        if (tm.tm_mday != day)
                return -EINVAL;
        *us = ((int64_t)t - east) * US + frac;
        return 0;
}
