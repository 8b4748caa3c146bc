/* XML as libvirt speaks it: an escaping writer, and a scanner of tags for what libvirt says back.
 */
#ifndef DROVER_AGENT_XML_H
#define DROVER_AGENT_XML_H

#include "base/buf.h"

/* s with & < > " ' and line breaks escaped; bytes that XML 1.0 does not allow become '?'. */
int xml_text(struct buf *b, const char *s);
/* ` name='value'`, the value escaped. */
int xml_attr(struct buf *b, const char *name, const char *value);

enum xml_kind { XML_OPEN, XML_CLOSE, XML_EMPTY };
struct xml_tag {
        enum xml_kind kind;
        const char *at;   /* its '<' */
        const char *name; /* not terminated */
        size_t name_len;
        const char *attrs, *end; /* end: just past '>' */
};

/*
 * The next tag at or after *at, which moves past it; false at the end of the text. Comments,
 * processing instructions and CDATA are skipped. Well-formed input is assumed but not relied on:
 * nothing outside of the string is touched.
 */
bool xml_next(const char **at, struct xml_tag *tag);
bool xml_is(const struct xml_tag *tag, const char *name);
/* Where the attribute's value stands in the text, as written: from *begin up to *end. False when
 * absent. */
bool xml_find(const struct xml_tag *tag, const char *attr, const char **begin, const char **end);
/* The attribute's value, entities decoded, cut to size; false when absent (out is ""). */
bool xml_get(const struct xml_tag *tag, const char *attr, char *out, size_t size);
/* The text that follows an opening tag up to the next '<', entities decoded, cut to size. */
void xml_inner(const struct xml_tag *tag, char *out, size_t size);

#endif
