#include "agent/holds.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hold {
        struct holds *of;
        struct hold *next;
        char uuid[64];
};

struct holds {
        pthread_mutex_t lock;
        struct hold *first;
};

struct holds *holds_new(void)
{
        struct holds *h = calloc(1, sizeof(*h));

        if (h)
                pthread_mutex_init(&h->lock, NULL);
        return h;
}

void holds_free(struct holds *h)
{
        if (!h)
                return;
        pthread_mutex_destroy(&h->lock);
        free(h);
}

struct hold *hold_take(struct holds *h, const char *uuid)
{
        struct hold *mine = calloc(1, sizeof(*mine)), *other;

        if (!mine)
                return NULL;
        mine->of = h;
        snprintf(mine->uuid, sizeof(mine->uuid), "%s", uuid);
        pthread_mutex_lock(&h->lock);
        for (other = h->first; other && strcmp(other->uuid, mine->uuid) != 0; other = other->next)
                ;
        if (!other) {
                mine->next = h->first;
                h->first = mine;
        }
        pthread_mutex_unlock(&h->lock);
        if (!other)
                return mine;
        free(mine);
        return NULL;
}

void hold_drop(struct hold *hold)
{
        if (!hold)
                return;
        pthread_mutex_lock(&hold->of->lock);
        for (struct hold **at = &hold->of->first; *at; at = &(*at)->next)
                if (*at == hold) {
                        *at = hold->next;
                        break;
                }
        pthread_mutex_unlock(&hold->of->lock);
        free(hold);
}
