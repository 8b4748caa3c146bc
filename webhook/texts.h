/*
 * Texts that many holders have in common, each kept once: VMs made from one template have all but
 * their names in common. For the whole process; thread safe.
 */
#ifndef DROVER_WEBHOOK_TEXTS_H
#define DROVER_WEBHOOK_TEXTS_H

/* The one copy of s, valid until the caller drops it; NULL when out of memory. */
const char *text_hold(const char *s);
/* The caller's hold on what text_hold gave ends. NULL is fine. */
void text_drop(const char *text);

#endif
