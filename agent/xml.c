#include "agent/xml.h"

#include <stdlib.h>
#include <string.h>

int xml_text(struct buf *b, const char *s)
{
        for (; *s; s++) {
                unsigned char c = (unsigned char)*s;
                if (c == '&')
                        buf_adds(b, "&amp;");
                else if (c == '<')
                        buf_adds(b, "&lt;");
                else if (c == '>')
                        buf_adds(b, "&gt;");
                else if (c == '"')
                        buf_adds(b, "&quot;");
                else if (c == '\'')
                        buf_adds(b, "&apos;");
                else if (c == '\n' || c == '\t' || c == '\r')
                        buf_addf(b, "&#%d;", c);
                else
                        buf_add(b, c < 0x20 ? "?" : s, 1);
        }
        return b->error;
}

int xml_attr(struct buf *b, const char *name, const char *value)
{
        buf_addf(b, " %s='", name);
        xml_text(b, value);
        return buf_adds(b, "'");
}

static const char *skip_to(const char *p, const char *end_mark)
{
        const char *q = strstr(p, end_mark);

        return q ? q + strlen(end_mark) : p + strlen(p);
}

/* The '>' that ends a tag: one inside of a quoted value does not. */
static const char *tag_end(const char *p)
{
        char quote = 0;

        for (; *p; p++) {
                if (quote)
                        quote = *p == quote ? 0 : quote;
                else if (*p == '"' || *p == '\'')
                        quote = *p;
                else if (*p == '>')
                        return p;
        }
        return NULL;
}

bool xml_next(const char **at, struct xml_tag *tag)
{
        const char *p = *at;

        for (;;) {
                p = strchr(p, '<');
                if (!p)
                        return false;
                if (!strncmp(p, "<!--", 4))
                        p = skip_to(p + 4, "-->");
                else if (!strncmp(p, "<![CDATA[", 9))
                        p = skip_to(p + 9, "]]>");
                else if (p[1] == '?' || p[1] == '!')
                        p = skip_to(p + 2, ">");
                else
                        break;
        }
        const char *end = tag_end(p);
        if (!end)
                return false;
        tag->at = p;
        tag->kind = p[1] == '/' ? XML_CLOSE : end[-1] == '/' ? XML_EMPTY : XML_OPEN;
        tag->name = p + (p[1] == '/' ? 2 : 1);
        tag->name_len = strcspn(tag->name, " \t\r\n/>");
        tag->attrs = tag->name + tag->name_len;
        tag->end = end + 1;
        *at = tag->end;
        return true;
}

bool xml_is(const struct xml_tag *tag, const char *name)
{
        return strlen(name) == tag->name_len && !memcmp(tag->name, name, tag->name_len);
}

/* One entity at p (which points to '&'): its character into *c, and past it; else the '&' itself.
 */
static const char *entity(const char *p, const char *end, char *c)
{
        static const struct {
                const char *text;
                char c;
        } NAMED[] = {
                {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};

        for (size_t i = 0; i < countof(NAMED); i++) {
                size_t n = strlen(NAMED[i].text);
                if ((size_t)(end - p) >= n && !memcmp(p, NAMED[i].text, n)) {
                        *c = NAMED[i].c;
                        return p + n;
                }
        }
        if (end - p > 3 && p[1] == '#') {
                char *stop;
                long v = p[2] == 'x' ? strtol(p + 3, &stop, 16) : strtol(p + 2, &stop, 10);
                if (stop < end && *stop == ';' && v > 0 && v < 128) {
                        *c = (char)v;
                        return stop + 1;
                }
        }
        *c = '&';
        return p + 1;
}

static void decode(const char *p, const char *end, char *out, size_t size)
{
        size_t n = 0;

        while (p < end && n + 1 < size) {
                if (*p == '&')
                        p = entity(p, end, &out[n]);
                else
                        out[n] = *p++;
                n++;
        }
        out[n] = '\0';
}

bool xml_find(const struct xml_tag *tag, const char *attr, const char **begin, const char **end)
{
        const char *p = tag->attrs;
        size_t len = strlen(attr);

        while (p < tag->end) {
                p += strspn(p, " \t\r\n");
                size_t n = strcspn(p, "= \t\r\n/>");
                const char *name = p;
                p += n;
                p += strspn(p, " \t\r\n");
                if (!n || *p != '=')
                        return false;
                p++;
                p += strspn(p, " \t\r\n");
                char quote = *p;
                const char *value = p + 1;
                const char *close = quote == '"' || quote == '\'' ? strchr(value, quote) : NULL;
                if (!close || close >= tag->end)
                        return false;
                if (n == len && !memcmp(name, attr, n)) {
                        *begin = value;
                        *end = close;
                        return true;
                }
                p = close + 1;
        }
        return false;
}

bool xml_get(const struct xml_tag *tag, const char *attr, char *out, size_t size)
{
        const char *begin, *end;

        out[0] = '\0';
        if (!xml_find(tag, attr, &begin, &end))
                return false;
        decode(begin, end, out, size);
        return true;
}

void xml_inner(const struct xml_tag *tag, char *out, size_t size)
{
        out[0] = '\0';
        if (tag->kind == XML_OPEN)
                decode(tag->end, tag->end + strcspn(tag->end, "<"), out, size);
}
