/*
 * resource.Quantity as apimachinery parses it: a decimal number and a suffix, which is a power of
 * 1000 or 1024, or a decimal exponent. Computed exactly.
 */
#include "api/codec.h"

#include <errno.h>
#include <string.h>

#define DIGITS_MAX   19 /* what fits into 64 bits whatever the digits */
#define EXPONENT_MAX 1000

struct number {
        bool negative;
        uint64_t digits; /* value = digits * 10^tens * 2^twos */
        int tens, twos;
};

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static int add_digit(struct number *n, int *used, int *zeros, char c)
{
        if (c == '0') {
                *zeros += *used > 0; /* taken in when a digit follows */
                return 0;
        }
        if (*used + *zeros >= DIGITS_MAX)
                return -ERANGE;
        for (; *zeros >= 0; (*zeros)--, (*used)++)
                n->digits *= 10;
        *zeros = 0;
        n->digits += (uint64_t)(c - '0');
        return 0;
}

/* "12.50" */
static int parse_digits(const char **p, struct number *n)
{
        int used = 0, zeros = 0, after = 0, rc = 0;
        bool point = false, any = false;

        for (; rc == 0 && (is_digit(**p) || (**p == '.' && !point)); (*p)++) {
                if (**p == '.') {
                        point = true;
                        continue;
                }
                any = true;
                after += point;
                rc = add_digit(n, &used, &zeros, **p);
        }
        if (rc == 0 && !any)
                return -EINVAL;
        n->tens = zeros - after;
        return rc;
}

/* "e3", "E-3" */
static int parse_exponent(const char *p, struct number *n)
{
        bool negative = *p == '-';
        int v = 0;

        p += *p == '-' || *p == '+';
        if (!is_digit(*p))
                return -EINVAL;
        for (; is_digit(*p); p++)
                if (v < EXPONENT_MAX)
                        v = v * 10 + (*p - '0');
        n->tens += negative ? -v : v;
        return *p ? -EINVAL : 0;
}

static int parse_suffix(const char *p, struct number *n)
{
        static const struct {
                char text[3];
                int tens, twos;
        } SUFFIXES[] = {
                {"", 0, 0},    {"Ki", 0, 10}, {"Mi", 0, 20}, {"Gi", 0, 30},
                {"Ti", 0, 40}, {"Pi", 0, 50}, {"Ei", 0, 60}, {"n", -9, 0},
                {"u", -6, 0},  {"m", -3, 0},  {"k", 3, 0},   {"M", 6, 0},
                {"G", 9, 0},   {"T", 12, 0},  {"P", 15, 0},  {"E", 18, 0},
        };

        for (size_t i = 0; i < countof(SUFFIXES); i++)
                if (strcmp(p, SUFFIXES[i].text) == 0) {
                        n->tens += SUFFIXES[i].tens;
                        n->twos = SUFFIXES[i].twos;
                        return 0;
                }
        return *p == 'e' || *p == 'E' ? parse_exponent(p + 1, n) : -EINVAL;
}

/* Away from zero to a whole number. */
static int value_of(const struct number *n, int64_t *out)
{
        unsigned __int128 v = (unsigned __int128)n->digits << n->twos; /* at most 124 bits */
        bool rest = false;
        int tens = n->tens;

        for (; tens < 0 && v; tens++) {
                rest |= v % 10 != 0;
                v /= 10;
        }
        v += rest;
        for (; tens > 0 && v && v <= INT64_MAX; tens--)
                v *= 10;
        if (v > INT64_MAX)
                return -ERANGE;
        *out = n->negative ? -(int64_t)v : (int64_t)v;
        return 0;
}

int quantity_parse(const char *text, int64_t *out)
{
        struct number n = {.negative = *text == '-'};
        const char *p = text + (*text == '-' || *text == '+');

        int rc = parse_digits(&p, &n);
        if (rc == 0)
                rc = parse_suffix(p, &n);
        return rc < 0 ? rc : value_of(&n, out);
}
