/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Any bytes, read as a policy file and as the one-line form: the parser ends, its message is one
 * printable line, and what it accepts is written and read back the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/policy.h"
#include "guard/units.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(x)                  \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

static struct sg_policy policy, again;
static struct sg_policy_report report;
static char line[SG_POLICY_RULES * SG_POLICY_RULE_TEXT];

static void check_message(const struct sg_policy_error *e, const char *source)
{
	size_t n = strnlen(e->message, sizeof(e->message));
	char clean[sizeof(e->message) + 8];
	struct sg_text t;

	MUST(n > strlen(source) && n < sizeof(e->message) - 1);
	MUST(!memcmp(e->message, source, strlen(source)));
	sg_text_init(&t, clean, sizeof(clean));
	sg_text_clean(&t, e->message, n, n);
	MUST(!strcmp(clean, e->message));
	MUST(!e->line == !e->column);
}

static void check_round_trip(void)
{
	struct sg_rule a, b;
	unsigned int i;
	int n;

	n = sg_policy_format(&policy, line, sizeof(line));
	MUST(n >= 0);
	MUST(!sg_policy_parse_line(&again, line, (size_t)n, "again", NULL));
	MUST(again.n == policy.n);
	for (i = 0; i < policy.n; i++) {
		a = policy.rules[i];
		b = again.rules[i];
		a.line = b.line = 0;
		MUST(!strcmp(a.glob, b.glob) && !memcmp(&a, &b, sizeof(a)));
		MUST(sg_policy_format_rule(&a, line, SG_POLICY_RULE_TEXT) > 0);
	}
}

static void check(int rc)
{
	unsigned int i;

	MUST(!rc || rc == -EINVAL || rc == -E2BIG);
	for (i = 0; i < report.warnings && i < SG_POLICY_WARNINGS; i++)
		check_message(&report.warning[i], "source");
	if (rc) {
		check_message(&report.error, "source");
		MUST(!policy.n);
		return;
	}
	MUST(!report.error.message[0]);
	check_round_trip();
	sg_policy_match(&policy, "/var/log/audit/audit.log");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size); /* exact, so that one byte too far is seen */

	if (size)
		memcpy(text, data, size);
	check(sg_policy_parse_file(&policy, text, size, "source", &report));
	check(sg_policy_parse_line(&policy, text, size, "source", &report));
	free(text);
	return 0;
}
