/* What needs no knowledge of cJSON: strings as JSON text, text in arenas, comparison. */
#include "base/json.h"

#include "base/json_chars.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte)) /* in all eight bytes of a word */

size_t json_utf8_length(const char *text, size_t left)
{
        const unsigned char *s = (const unsigned char *)text;
        static const struct {
                unsigned char first, last, low, high; /* range of the lead and of the second byte */
                unsigned char length;
        } FORMS[] = {
                {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
                {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3},
                {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
                {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
        };

        for (size_t i = 0; i < countof(FORMS); i++) {
                if (*s < FORMS[i].first || *s > FORMS[i].last)
                        continue;
                if (left < FORMS[i].length)
                        return 0;
                if (s[1] < FORMS[i].low || s[1] > FORMS[i].high)
                        return 0;
                for (size_t k = 2; k < FORMS[i].length; k++)
                        if ((s[k] & 0xC0) != 0x80)
                                return 0;
                return FORMS[i].length;
        }
        return 0;
}

/*
 * Eight at a time. The lowest byte that is marked in a word is not plain; a borrow can only mark
 * wrongly what is above it.
 */
const char *json_plain_end(const char *p, const char *end)
{
        for (uint64_t word, quote, slash; end - p >= 8; p += 8) {
                memcpy(&word, p, sizeof(word));
                word = le64toh(word);
                quote = word ^ EACH('"');
                slash = word ^ EACH('\\');
                word |= (word - EACH(' ')) & ~word;
                word |= ((quote - EACH(1)) & ~quote) | ((slash - EACH(1)) & ~slash);
                word &= EACH(0x80);
                if (word)
                        return p + __builtin_ctzll(word) / 8;
        }
        while (p < end && JSON_KIND[(unsigned char)*p] == JSON_PLAIN)
                p++;
        return p;
}

static int add_escape(struct buf *b, unsigned char c)
{
        static const char LETTERS[][2] = {{'"', '"'},  {'\\', '\\'}, {'\n', 'n'}, {'\t', 't'},
                                          {'\r', 'r'}, {'\b', 'b'},  {'\f', 'f'}};

        for (size_t i = 0; i < countof(LETTERS); i++)
                if (c == (unsigned char)LETTERS[i][0])
                        return buf_add(b, (char[]){'\\', LETTERS[i][1]}, 2);
        if (c < ' ')
                return buf_addf(b, "\\u%04x", c);
        return buf_adds(b, "\\ufffd");
}

int json_quote(struct buf *b, const char *s)
{
        const char *end = s + strlen(s), *p = s;

        buf_add(b, "\"", 1);
        for (;;) { /* s is the start of what may go out as it is */
                p = json_plain_end(p, end);
                size_t n = JSON_KIND[(unsigned char)*p] == JSON_HIGH
                                   ? json_utf8_length(p, (size_t)(end - p))
                                   : 0;
                if (n) {
                        p += n;
                        continue;
                }
                buf_add(b, s, (size_t)(p - s));
                if (p == end)
                        return buf_add(b, "\"", 1);
                add_escape(b, (unsigned char)*p++);
                s = p;
        }
}

char *json_text(const struct json *j, struct arena *a)
{
        autobuf struct buf b = buf_new(SIZE_MAX);

        return json_print(j, &b) < 0 ? NULL : arena_strdup(a, buf_str(&b));
}

static bool equal_members(const struct json *a, const struct json *b)
{
        const struct json *guess = json_first(b); /* the order is the same more often than not */

        for (const struct json *c = json_first(a); c; c = json_next(c)) {
                bool same = guess && strcmp(json_key(c), json_key(guess)) == 0;
                if (!json_equal(c, same ? guess : json_get(b, json_key(c))))
                        return false;
                guess = json_next(guess);
        }
        return json_count(a) == json_count(b);
}

static bool equal_elements(const struct json *a, const struct json *b)
{
        a = json_first(a);
        b = json_first(b);
        for (; a && b; a = json_next(a), b = json_next(b))
                if (!json_equal(a, b))
                        return false;
        return a == b; /* both at their end */
}

bool json_equal(const struct json *a, const struct json *b)
{
        double x = 0, y = 0;

        if (json_type(a) != json_type(b))
                return false;
        switch (json_type(a)) {
        case JSON_BOOL:
                return json_is_true(a) == json_is_true(b);
        case JSON_NUMBER:
                return json_to_num(a, &x) == json_to_num(b, &y) && x == y;
        case JSON_STRING:
                return strcmp(json_string(a), json_string(b)) == 0;
        case JSON_ARRAY:
                return equal_elements(a, b);
        case JSON_OBJECT:
                return equal_members(a, b);
        default:
                return true;
        }
}
