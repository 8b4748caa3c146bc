#include "core/admission_rules.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DNS_LABEL_MAX     63
#define DNS_SUBDOMAIN_MAX 253
#define LABEL_NAME_MAX    63
#define SSH_TYPE_MAX      64

static bool is_lower_alnum(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
        return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool dns_label(const char *s, size_t len)
{
        if (!len || !is_lower_alnum(s[0]) || !is_lower_alnum(s[len - 1]))
                return false;
        for (size_t i = 0; i < len; i++)
                if (!is_lower_alnum(s[i]) && s[i] != '-')
                        return false;
        return true;
}

bool is_dns_label(const char *s)
{
        size_t len = strlen(s);

        return len <= DNS_LABEL_MAX && dns_label(s, len);
}

static bool dns_subdomain(const char *s, size_t len)
{
        const char *end = s + len;

        if (len > DNS_SUBDOMAIN_MAX)
                return false;
        for (;;) {
                const char *dot = memchr(s, '.', (size_t)(end - s));

                if (!dns_label(s, (size_t)((dot ? dot : end) - s)))
                        return false;
                if (!dot)
                        return true;
                s = dot + 1;
        }
}

bool is_dns_subdomain(const char *s)
{
        return dns_subdomain(s, strlen(s));
}

bool is_label_name(const char *s)
{
        size_t len = strlen(s);

        if (!len || len > LABEL_NAME_MAX || !is_alnum(s[0]) || !is_alnum(s[len - 1]))
                return false;
        for (size_t i = 0; i < len; i++)
                if (!is_alnum(s[i]) && !strchr("-_.", s[i]))
                        return false;
        return true;
}

bool is_label_key(const char *s)
{
        const char *slash = strchr(s, '/');

        if (!slash)
                return is_label_name(s);
        return dns_subdomain(s, (size_t)(slash - s)) && is_label_name(slash + 1);
}

bool is_label_value(const char *s)
{
        return !*s || is_label_name(s);
}

bool is_mac(const char *s)
{
        for (int i = 0; i < 17; i++)
                if (i % 3 == 2 ? s[i] != ':' : !isxdigit((unsigned char)s[i]))
                        return false;
        return !s[17] && !(strtoul((char[]){s[1], 0}, NULL, 16) & 1);
}

static int base64_digit(char c)
{
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789+/";
        const char *at = c ? strchr(digits, c) : NULL;

        return at ? (int)(at - digits) : -1;
}

/*
 * The blob is base64 and its bytes begin with the type as SSH writes a string: four bytes of
 * length, then the text. More than that is the guest's business.
 */
static bool is_key_blob(const char *type, size_t type_len, const char *blob, size_t len)
{
        unsigned char head[4 + SSH_TYPE_MAX];
        size_t have = 0, digits = len;
        unsigned bits = 0, acc = 0;

        while (digits && blob[digits - 1] == '=')
                digits--;
        if (len % 4 || len - digits > 2)
                return false;
        for (size_t i = 0; i < digits; i++) {
                int d = base64_digit(blob[i]);

                if (d < 0)
                        return false;
                acc = (acc << 6 | (unsigned)d) & 0xffff;
                bits += 6;
                if (bits < 8)
                        continue;
                bits -= 8;
                if (have < sizeof(head))
                        head[have++] = (unsigned char)(acc >> bits & 0xff);
        }
        return have > 4 + type_len && !head[0] && !head[1] && !head[2] && head[3] == type_len &&
               !memcmp(head + 4, type, type_len);
}

/* As a line of authorized_keys: [options] type blob [comment]. */
bool is_ssh_public_key(const char *s)
{
        const char *word = s, *before = NULL;
        size_t before_len = 0;

        for (const char *c = s; *c; c++)
                if (iscntrl((unsigned char)*c))
                        return false;
        while (*word) {
                size_t len = strcspn(word, " ");

                if (before && before_len <= SSH_TYPE_MAX &&
                    is_key_blob(before, before_len, word, len))
                        return true;
                before = word;
                before_len = len;
                word += len;
                word += strspn(word, " ");
        }
        return false;
}
