#include "agent/claimpath.h"

#include "agent/xml.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEPTH 4 /* domain, devices, disk, source */

bool claimpath_part(const char *s)
{
        return *s && *s != '.' && strlen(s) <= 253 && !strchr(s, '/');
}

static bool is_uid(const char *s)
{
        size_t n = 0;

        while (isalnum((unsigned char)s[n]) || s[n] == '-')
                n++;
        return n && !s[n] && n < CLAIM_UID_MAX;
}

/* What follows in *p after that text, which it begins with. */
static bool take(const char **p, const char *text)
{
        size_t n = strlen(text);

        if (strncmp(*p, text, n) != 0)
                return false;
        *p += n;
        return true;
}

/* One part of the path up to the next slash or the end. */
static bool take_part(const char **p, char out[256])
{
        size_t n = strcspn(*p, "/");

        if (n > 253)
                return false;
        memcpy(out, *p, n);
        out[n] = '\0';
        *p += n;
        return claimpath_part(out);
}

bool claimpath_for(const char *root, const char *path, const char *pod, char out[PATH_MAX])
{
        char uid[256], part[256];
        const char *p = path, *rest;

        if (!is_uid(pod) || !take(&p, root) || !take(&p, "/pods/") || !take_part(&p, uid) ||
            !is_uid(uid))
                return false;
        rest = p;
        bool device = take(&p, "/volumeDevices/");
        if ((!device && !take(&p, "/volumes/")) || !take_part(&p, part) || !take(&p, "/") ||
            !take_part(&p, part))
                return false;
        if (device ? *p : strcmp(p, "/" CLAIM_FILE) && strcmp(p, "/mount/" CLAIM_FILE))
                return false;
        return snprintf(out, PATH_MAX, "%s/pods/%s%s", root, pod, rest) < PATH_MAX;
}

/* What we are in, from the outermost on, as deep as matters. */
struct stack {
        struct xml_tag open[DEPTH];
        size_t depth;
};

/* A source that stands directly in a disk, which does so in the domain's devices. */
static bool is_own_source(const struct stack *s, const struct xml_tag *tag)
{
        return s->depth == DEPTH - 1 && xml_is(&s->open[0], "domain") &&
               xml_is(&s->open[1], "devices") && xml_is(&s->open[2], "disk") &&
               xml_is(tag, "source");
}

static void step(struct stack *s, const struct xml_tag *tag)
{
        if (tag->kind == XML_OPEN) {
                if (s->depth < DEPTH)
                        s->open[s->depth] = *tag;
                s->depth++;
        } else if (tag->kind == XML_CLOSE && s->depth) {
                s->depth--;
        }
}

/* The attribute that names a claim's disk: where its value stands, and what it is to be. */
static bool find_claim(const char *root, const struct xml_tag *tag, const char *pod,
                       const char **begin, const char **end, char to[PATH_MAX])
{
        static const char *const ATTRS[] = {"file", "dev"};
        char path[PATH_MAX];

        for (size_t i = 0; i < countof(ATTRS); i++)
                if (xml_find(tag, ATTRS[i], begin, end)) {
                        xml_get(tag, ATTRS[i], path, sizeof(path));
                        return claimpath_for(root, path, pod, to);
                }
        return false;
}

bool claimpath_lost(const char *root, const char *xml, bool (*there)(const char *path),
                    char out[PATH_MAX])
{
        struct stack in = {.depth = 0};
        char same[PATH_MAX];
        struct xml_tag tag;

        while (xml_next(&xml, &tag)) {
                if (tag.kind != XML_CLOSE && is_own_source(&in, &tag) &&
                    xml_get(&tag, "dev", out, PATH_MAX) && claimpath_for(root, out, "x", same) &&
                    !there(out))
                        return true;
                step(&in, &tag);
        }
        return false;
}

int claimpath_move(const char *root, const char *xml, const char *pod, struct buf *out, size_t *n,
                   struct err *e)
{
        struct stack in = {.depth = 0};
        const char *at = xml, *done = xml, *begin, *end;
        char to[PATH_MAX];
        struct xml_tag tag;

        *n = 0;
        if (!is_uid(pod))
                return err_set(e, -EINVAL, "\"%.64s\" is no uid of a pod", pod);
        while (xml_next(&at, &tag)) {
                if (tag.kind != XML_CLOSE && is_own_source(&in, &tag) &&
                    find_claim(root, &tag, pod, &begin, &end, to)) {
                        buf_add(out, done, (size_t)(begin - done));
                        xml_text(out, to);
                        done = end;
                        ++*n;
                }
                step(&in, &tag);
        }
        int rc = buf_adds(out, done);
        return rc ? err_set(e, rc, "the domain's XML is too long") : 0;
}
