/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* A policy once it is read: its words, its rules by path, and its one-line form. policy_parse.c reads it. */
#include <errno.h>
#include <string.h>

#include "guard/policy.h"
#include "guard/policy_names.h"
#include "guard/units.h"

const char *const sg_policy_key_names[SG_KEYS] = { "mode",	"max_delay", "max_records",
						   "max_bytes", "adapt",     "stall",
						   "on_stall",	"on_error",  "backend" };
const char *const sg_policy_mode_names[4] = { "observe", "group", "window", "ensure" };
const char *const sg_policy_on_stall_names[3] = { "block", "fail", "spill" };
const char *const sg_policy_on_error_names[3] = { "poison", "abort", "warn" };
const char *const sg_policy_backend_names[3] = { "auto", "syscall", "kmod" };
const char *const sg_policy_switch_names[2] = { "off", "on" };

const char *sg_policy_key_name(enum sg_policy_key key)
{
	return (unsigned int)key < SG_KEYS ? sg_policy_key_names[key] : "?";
}

const char *sg_mode_name(enum sg_mode mode)
{
	return (unsigned int)mode < SG_N(sg_policy_mode_names) ? sg_policy_mode_names[mode] : "?";
}

const char *sg_on_stall_name(enum sg_on_stall on_stall)
{
	return (unsigned int)on_stall < SG_N(sg_policy_on_stall_names)
		       ? sg_policy_on_stall_names[on_stall]
		       : "?";
}

const char *sg_on_error_name(enum sg_on_error on_error)
{
	return (unsigned int)on_error < SG_N(sg_policy_on_error_names)
		       ? sg_policy_on_error_names[on_error]
		       : "?";
}

const char *sg_backend_name(enum sg_backend backend)
{
	return (unsigned int)backend < SG_N(sg_policy_backend_names)
		       ? sg_policy_backend_names[backend]
		       : "?";
}

void sg_rule_init(struct sg_rule *rule)
{
	memset(rule, 0, sizeof(*rule));
	rule->mode = SG_MODE_OBSERVE;
	rule->max_delay_ns = 50 * SG_NSEC_PER_MSEC;
	rule->max_records = 512;
	rule->max_bytes = 1 << 20;
	rule->adapt = true;
	rule->stall_ns = SG_NSEC_PER_SEC;
	rule->on_stall = SG_ON_STALL_BLOCK;
	rule->on_error = SG_ON_ERROR_POISON;
	rule->backend = SG_BACKEND_AUTO;
}

const struct sg_rule *sg_policy_match(const struct sg_policy *policy, const char *path)
{
	unsigned int i;

	for (i = 0; i < policy->n; i++)
		if (sg_glob_match(policy->rules[i].glob, path))
			return &policy->rules[i];
	return NULL;
}

/* ---- writing ---- */

static void text_glob(struct sg_text *t, const char *glob)
{
	for (; *glob; glob++) {
		if (*glob == ':' || *glob == ';')
			sg_text_char(t, '\\');
		if (*glob == '\\' && glob[1])
			sg_text_char(t, *glob++);
		sg_text_char(t, *glob);
	}
}

static void text_value(struct sg_text *t, const struct sg_rule *rule, enum sg_policy_key key)
{
	switch (key) {
	case SG_KEY_MODE:
		sg_text_str(t, sg_mode_name(rule->mode));
		break;
	case SG_KEY_MAX_DELAY:
		sg_text_time_exact(t, rule->max_delay_ns);
		break;
	case SG_KEY_MAX_RECORDS:
		sg_text_u64(t, rule->max_records);
		break;
	case SG_KEY_MAX_BYTES:
		sg_text_bytes_exact(t, rule->max_bytes);
		break;
	case SG_KEY_ADAPT:
		sg_text_str(t, sg_policy_switch_names[rule->adapt]);
		break;
	case SG_KEY_STALL:
		sg_text_time_exact(t, rule->stall_ns);
		break;
	case SG_KEY_ON_STALL:
		sg_text_str(t, sg_on_stall_name(rule->on_stall));
		if (rule->on_stall == SG_ON_STALL_SPILL) {
			sg_text_char(t, ':');
			sg_text_str(t, rule->spill_dir);
		}
		break;
	case SG_KEY_ON_ERROR:
		sg_text_str(t, sg_on_error_name(rule->on_error));
		break;
	case SG_KEY_BACKEND:
		sg_text_str(t, sg_backend_name(rule->backend));
		break;
	case SG_KEYS:
		break;
	}
}

/* A mask of the keys whose value is not the default. */
static uint32_t changed_keys(const struct sg_rule *rule, const struct sg_rule *def)
{
	return (uint32_t)(rule->mode != def->mode) << SG_KEY_MODE |
	       (uint32_t)(rule->max_delay_ns != def->max_delay_ns) << SG_KEY_MAX_DELAY |
	       (uint32_t)(rule->max_records != def->max_records) << SG_KEY_MAX_RECORDS |
	       (uint32_t)(rule->max_bytes != def->max_bytes) << SG_KEY_MAX_BYTES |
	       (uint32_t)(rule->adapt != def->adapt) << SG_KEY_ADAPT |
	       (uint32_t)(rule->stall_ns != def->stall_ns) << SG_KEY_STALL |
	       (uint32_t)(rule->on_stall != def->on_stall) << SG_KEY_ON_STALL |
	       (uint32_t)(rule->on_error != def->on_error) << SG_KEY_ON_ERROR |
	       (uint32_t)(rule->backend != def->backend) << SG_KEY_BACKEND;
}

static void text_escaped(struct sg_text *t, const char *s)
{
	for (; *s; s++) {
		if (*s == ',' || *s == ';' || *s == '\\')
			sg_text_char(t, '\\');
		sg_text_char(t, *s);
	}
}

static void text_rule(struct sg_text *t, const struct sg_rule *rule)
{
	char value[SG_POLICY_SPILL_MAX + 16];
	struct sg_text v;
	struct sg_rule def;
	unsigned int k, n = 0;
	uint32_t keys;

	sg_rule_init(&def);
	keys = rule->set | changed_keys(rule, &def);
	text_glob(t, rule->glob);
	sg_text_char(t, ':');
	for (k = 0; k < SG_KEYS; k++) {
		if (!(keys & 1u << k))
			continue;
		if (n++)
			sg_text_char(t, ',');
		sg_text_str(t, sg_policy_key_names[k]);
		sg_text_char(t, '=');
		sg_text_init(&v, value, sizeof(value));
		text_value(&v, rule, (enum sg_policy_key)k);
		text_escaped(t, value);
	}
}

static int finish(struct sg_text *t, size_t size)
{
	if (!sg_text_truncated(t))
		return (int)t->len;
	if (size)
		t->buf[0] = '\0';
	return -ENOSPC;
}

int sg_policy_format_rule(const struct sg_rule *rule, char *buf, size_t size)
{
	struct sg_text t;

	if (!size)
		return -ENOSPC;
	sg_text_init(&t, buf, size);
	text_rule(&t, rule);
	return finish(&t, size);
}

int sg_policy_format(const struct sg_policy *policy, char *buf, size_t size)
{
	struct sg_text t;
	unsigned int i;

	if (!size)
		return -ENOSPC;
	sg_text_init(&t, buf, size);
	for (i = 0; i < policy->n; i++) {
		if (i)
			sg_text_char(&t, ';');
		text_rule(&t, &policy->rules[i]);
	}
	return finish(&t, size);
}

int sg_policy_format_value(const struct sg_rule *rule, enum sg_policy_key key, char *buf,
			   size_t size)
{
	struct sg_text t;

	if ((unsigned int)key >= SG_KEYS)
		return -EINVAL;
	if (!size)
		return -ENOSPC;
	sg_text_init(&t, buf, size);
	text_value(&t, rule, key);
	return finish(&t, size);
}
