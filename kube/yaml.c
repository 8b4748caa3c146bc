#include "kube/yaml.h"

#include <errno.h>
#include <string.h>

int kube_yaml_parse(const char *text, size_t len, yaml_document_t *doc, struct err *e)
{
        yaml_parser_t parser;
        int rc = 0;

        if (!yaml_parser_initialize(&parser))
                return err_sys(e, -ENOMEM, "parse YAML");
        yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
        if (!yaml_parser_load(&parser, doc)) {
                rc = parser.error == YAML_MEMORY_ERROR ? -ENOMEM : -EINVAL;
                err_set(e, rc, "bad YAML at line %zu, column %zu: %s", parser.problem_mark.line + 1,
                        parser.problem_mark.column + 1,
                        parser.problem ? parser.problem : "no memory");
        }
        yaml_parser_delete(&parser);
        return rc;
}

const char *kube_yaml_text(const yaml_node_t *node)
{
        const char *s;

        if (!node || node->type != YAML_SCALAR_NODE)
                return NULL;
        s = (const char *)node->data.scalar.value;
        if (strlen(s) != node->data.scalar.length)
                return NULL; /* a NUL inside */
        if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
            (!*s || strcmp(s, "~") == 0 || strcmp(s, "null") == 0))
                return NULL;
        return s;
}

bool kube_yaml_true(const yaml_node_t *node)
{
        const char *s = kube_yaml_text(node);

        return s && (strcmp(s, "true") == 0 || strcmp(s, "True") == 0 || strcmp(s, "TRUE") == 0);
}

yaml_node_t *kube_yaml_get(yaml_document_t *doc, yaml_node_t *node, const char *key)
{
        if (!node || node->type != YAML_MAPPING_NODE)
                return NULL;
        for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
             p++) {
                const char *s = kube_yaml_text(yaml_document_get_node(doc, p->key));
                if (s && strcmp(s, key) == 0)
                        return yaml_document_get_node(doc, p->value);
        }
        return NULL;
}

yaml_node_t *kube_yaml_named(yaml_document_t *doc, yaml_node_t *list, const char *name)
{
        if (!list || list->type != YAML_SEQUENCE_NODE)
                return NULL;
        for (yaml_node_item_t *i = list->data.sequence.items.start;
             i < list->data.sequence.items.top; i++) {
                yaml_node_t *n = yaml_document_get_node(doc, *i);
                const char *s = kube_yaml_text(kube_yaml_get(doc, n, "name"));
                if (s && strcmp(s, name) == 0)
                        return n;
        }
        return NULL;
}
