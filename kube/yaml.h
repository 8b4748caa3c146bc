/* Reading a small YAML document (libyaml) by path. */
#ifndef DROVER_KUBE_YAML_H
#define DROVER_KUBE_YAML_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

/* Parses the first document. -EINVAL with line and column. yaml_document_delete frees it. */
must_check int kube_yaml_parse(const char *text, size_t len, yaml_document_t *doc, struct err *e);
/* The member of a map; NULL when there is none, or node is NULL or no map. */
yaml_node_t *kube_yaml_get(yaml_document_t *doc, yaml_node_t *node, const char *key);
/* A scalar's text, NULL for another node, for NULL and for a YAML null. */
const char *kube_yaml_text(const yaml_node_t *node);
bool kube_yaml_true(const yaml_node_t *node);
/* Of a sequence of maps the first whose "name" is name, or NULL. */
yaml_node_t *kube_yaml_named(yaml_document_t *doc, yaml_node_t *list, const char *name);

#endif
