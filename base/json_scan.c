#include "base/json_scan.h"

#include "base/json_chars.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define UTF8_MAX 4

_Static_assert(JSON_DEPTH_MAX <= 64, "a bit of json_scan.objects for each level");

static bool bad(struct json_scan *s, const char *at)
{
        if (s->rc == 0)
                s->rc = err_set(s->e, -EINVAL, "bad JSON at byte %zu", (size_t)(at - s->text));
        return false;
}

void json_scan_fail(struct json_scan *s, int code, const char *fmt, ...)
{
        char text[ERR_MSG_MAX];
        va_list ap;

        if (s->rc < 0)
                return;
        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        s->rc = err_set(s->e, code, "%s", text);
}

void json_scan_begin(struct json_scan *s, const char *text, size_t len, size_t max, struct err *e)
{
        *s = (struct json_scan){.text = text, .at = text, .end = text + len, .e = e};
        if (len > max)
                s->rc = err_set(e, -E2BIG, "JSON of %zu bytes, at most %zu allowed", len, max);
}

static void pass_space(struct json_scan *s)
{
        while (s->at < s->end &&
               (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
                s->at++;
}

int json_scan_end(struct json_scan *s)
{
        pass_space(s);
        if (s->at < s->end || s->depth)
                bad(s, s->at);
        return s->rc;
}

/* --- strings */

/* The number that \uXXXX at p stands for; 0 when it is none, or NUL. */
static unsigned unit_at(const char *p, const char *end)
{
        unsigned v = 0;

        if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
                return 0;
        for (int i = 2; i < 6; i++) {
                unsigned c = (unsigned char)p[i];

                if (!isxdigit((int)c))
                        return 0;
                v = v << 4 | (c <= '9' ? c - '0' : (c | ' ') - 'a' + 10);
        }
        return v;
}

/* The code point of an escape and its length in the text, which is 0 when it is no good one. */
static unsigned escape_at(const char *p, const char *end, size_t *len)
{
        static const char LETTERS[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
        unsigned high, low;

        *len = 2;
        for (size_t i = 0; end - p >= 2 && i < sizeof(LETTERS) - 1; i += 2)
                if (p[1] == LETTERS[i])
                        return (unsigned char)LETTERS[i + 1];
        high = unit_at(p, end);
        *len = high && (high < 0xD800 || high > 0xDFFF) ? 6 : 0;
        if (*len || high < 0xD800 || high > 0xDBFF)
                return high;
        low = unit_at(p + 6, end);
        *len = low >= 0xDC00 && low <= 0xDFFF ? 12 : 0;
        return 0x10000 + ((high - 0xD800) << 10 | (low & 0x3FF));
}

/* Passes a string, at whose first quote it stands. */
static bool pass_string(struct json_scan *s)
{
        const char *p = json_plain_end(s->at + 1, s->end);
        size_t n;

        while (p < s->end && *p != '"') {
                if (*p == '\\')
                        escape_at(p, s->end, &n);
                else /* and 0 for what must not stand in a string */
                        n = json_utf8_length(p, (size_t)(s->end - p));
                if (!n)
                        return bad(s, p);
                p = json_plain_end(p + n, s->end);
        }
        if (p == s->end)
                return bad(s, p);
        s->at = p + 1;
        return true;
}

static size_t utf8_encode(unsigned c, char out[UTF8_MAX])
{
        static const unsigned char LEAD[] = {0, 0, 0xC0, 0xE0, 0xF0};
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

        for (size_t i = n; --i > 0; c >>= 6)
                out[i] = (char)(0x80 | (c & 0x3F));
        out[0] = (char)(LEAD[n] | c);
        return n;
}

/* One byte of a checked string, or what an escape stands for; the place behind it. */
static const char *decode(const char *p, const char *end, char out[UTF8_MAX], size_t *n)
{
        size_t len;

        if (*p != '\\') {
                *out = *p;
                *n = 1;
                return p + 1;
        }
        *n = utf8_encode(escape_at(p, end, &len), out);
        return p + len;
}

bool json_span_is(struct json_span span, const char *string)
{
        size_t len = strlen(string), n;
        char out[UTF8_MAX];

        if (span.len < 2 || *span.text != '"')
                return false;
        const char *p = span.text + 1, *end = span.text + span.len - 1;
        while (p < end && len) {
                p = decode(p, end, out, &n);
                if (n > len || memcmp(out, string, n) != 0)
                        return false;
                string += n;
                len -= n;
        }
        return p == end && !len;
}

char *json_span_string(struct json_span span, struct arena *a)
{
        const char *p = span.text + 1, *end = span.text + span.len - 1;
        char *string = arena_array(a, span.len, 1), *to = string; /* never longer than its text */
        size_t n;

        if (!string)
                return NULL;
        for (const char *slash; (slash = memchr(p, '\\', (size_t)(end - p))); to += n) {
                memcpy(to, p, (size_t)(slash - p));
                to += slash - p;
                p = decode(slash, end, to, &n);
        }
        memcpy(to, p, (size_t)(end - p));
        return string;
}

/* --- values */

static const char *digits_end(const char *p, const char *end)
{
        while (p < end && *p >= '0' && *p <= '9')
                p++;
        return p;
}

static bool pass_number(struct json_scan *s)
{
        const char *p = s->at + (*s->at == '-'), *from = p;

        p = digits_end(p, s->end);
        if (p == from || (*from == '0' && p > from + 1))
                return bad(s, from);
        if (p < s->end && *p == '.') {
                from = p + 1;
                p = digits_end(from, s->end);
                if (p == from)
                        return bad(s, p);
        }
        if (p < s->end && (*p | ' ') == 'e') {
                p++;
                from = p + (p < s->end && (*p == '+' || *p == '-'));
                p = digits_end(from, s->end);
                if (p == from)
                        return bad(s, p);
        }
        s->at = p;
        return true;
}

static bool pass_word(struct json_scan *s, const char *word)
{
        size_t n = strlen(word);

        if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
                return bad(s, s->at);
        s->at += n;
        return true;
}

enum json_type json_scan_type(struct json_scan *s)
{
        pass_space(s);
        if (s->rc < 0 || s->at == s->end)
                return JSON_NONE;
        switch (*s->at) {
        case '{':
                return JSON_OBJECT;
        case '[':
                return JSON_ARRAY;
        case '"':
                return JSON_STRING;
        case 't':
        case 'f':
                return JSON_BOOL;
        case 'n':
                return JSON_NULL;
        default:
                return *s->at == '-' || (*s->at >= '0' && *s->at <= '9') ? JSON_NUMBER : JSON_NONE;
        }
}

void json_scan_open(struct json_scan *s)
{
        uint64_t bit = UINT64_C(1) << (s->depth % 64);

        if (s->rc < 0)
                return;
        if (s->depth == JSON_DEPTH_MAX) {
                s->rc = err_set(s->e, -E2BIG, "JSON deeper than %d levels at byte %zu",
                                JSON_DEPTH_MAX, (size_t)(s->at - s->text));
                return;
        }
        s->objects = *s->at == '{' ? s->objects | bit : s->objects & ~bit;
        s->depth++;
        s->values++;
        s->fresh = true;
        s->at++;
}

static bool in_object(const struct json_scan *s)
{
        return s->objects >> (s->depth - 1) & 1;
}

/* To the next value of the innermost open one; false when that is over, or after a failure. */
static bool more(struct json_scan *s, struct json_span *key)
{
        bool object = in_object(s);

        pass_space(s);
        if (s->rc < 0 || s->at == s->end)
                return bad(s, s->at);
        if (*s->at == (object ? '}' : ']')) {
                s->at++;
                s->depth--;
                s->fresh = false;
                return false;
        }
        if (!s->fresh) {
                if (*s->at != ',')
                        return bad(s, s->at);
                s->at++;
                pass_space(s);
        }
        s->fresh = false;
        if (!object)
                return true;
        key->text = s->at;
        if (s->at == s->end || *s->at != '"' || !pass_string(s))
                return bad(s, s->at);
        key->len = (size_t)(s->at - key->text);
        pass_space(s);
        if (s->at == s->end || *s->at != ':')
                return bad(s, s->at);
        s->at++;
        return true;
}

bool json_scan_member(struct json_scan *s, struct json_span *key)
{
        return s->rc == 0 && more(s, key);
}

bool json_scan_element(struct json_scan *s)
{
        return s->rc == 0 && more(s, NULL);
}

/* Passes what comes next if it is a simple value, else steps into it. */
static void pass(struct json_scan *s)
{
        enum json_type type = json_scan_type(s);

        if (type == JSON_OBJECT || type == JSON_ARRAY) {
                json_scan_open(s);
                return;
        }
        s->values++;
        if (type == JSON_STRING)
                pass_string(s);
        else if (type == JSON_NUMBER)
                pass_number(s);
        else if (type == JSON_BOOL)
                pass_word(s, *s->at == 't' ? "true" : "false");
        else if (type == JSON_NULL)
                pass_word(s, "null");
        else
                bad(s, s->at);
}

struct json_span json_scan_value(struct json_scan *s)
{
        struct json_span value = {NULL, 0}, key;
        int outer = s->depth;

        pass_space(s);
        value.text = s->at;
        do {
                pass(s);
                while (s->rc == 0 && s->depth > outer && !more(s, &key))
                        ;
        } while (s->rc == 0 && s->depth > outer);
        if (s->rc < 0)
                return (struct json_span){NULL, 0};
        value.len = (size_t)(s->at - value.text);
        return value;
}
