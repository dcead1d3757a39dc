/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The policy: which file is guarded how. Two forms of the same rules; docs/policy.md and
 * spoolguard.conf(5) say what each key means.
 *
 *   file       [/var/log/audit/audit.log]   one section per rule
 *              mode = window ; comment
 *   one line   GLOB:key=value,key=value;GLOB:key=value      ($SPOOLGUARD_POLICY)
 *
 * In the one-line form '\' takes the meaning from the next ':', ';', ',' or '\' of a glob or value.
 * The first rule whose glob matches the file's resolved path wins.
 *
 * Why no INI library: this runs before main() inside any program, so it must not allocate, and an
 * error has to name the line, the key and the remedy. Parsing is pure and async-signal-safe; struct
 * sg_policy is about 60 KB, so keep it off small stacks. A parsed policy is never written again:
 * threads share it without locks.
 */
#ifndef SG_GUARD_POLICY_H
#define SG_GUARD_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guard/glob.h"

#define SG_POLICY_RULES	    64		 /* most rules in a policy */
#define SG_POLICY_TEXT	    (256 * 1024) /* longest text that is parsed, bytes */
#define SG_POLICY_LINE	    1024	 /* longest line of a file, bytes */
#define SG_POLICY_SPILL_MAX 255		 /* longest DIR of spill:DIR, bytes */
#define SG_POLICY_RULE_TEXT 2048	 /* enough for any one rule in one-line form */
#define SG_POLICY_WARNINGS  8		 /* warnings kept; more are only counted */

/* The most that a bound may be: beyond, it is a typing error; sums of these stay in 64 bits. */
#define SG_POLICY_TIME_MAX_NS (UINT64_C(86400) * 1000000000) /* 1 day */
#define SG_POLICY_RECORDS_MAX UINT64_C(1000000000)
#define SG_POLICY_BYTES_MAX   (UINT64_C(1) << 40) /* 1 TiB */

enum sg_mode { SG_MODE_OBSERVE, SG_MODE_GROUP, SG_MODE_WINDOW, SG_MODE_ENSURE };
enum sg_on_stall { SG_ON_STALL_BLOCK, SG_ON_STALL_FAIL, SG_ON_STALL_SPILL };
enum sg_on_error { SG_ON_ERROR_POISON, SG_ON_ERROR_ABORT, SG_ON_ERROR_WARN };
enum sg_backend { SG_BACKEND_AUTO, SG_BACKEND_SYSCALL, SG_BACKEND_KMOD };

/* The keys, in the order they are written in; rule.set has bit 1u << key for each one given. */
enum sg_policy_key {
	SG_KEY_MODE,
	SG_KEY_MAX_DELAY,
	SG_KEY_MAX_RECORDS,
	SG_KEY_MAX_BYTES,
	SG_KEY_ADAPT,
	SG_KEY_STALL,
	SG_KEY_ON_STALL,
	SG_KEY_ON_ERROR,
	SG_KEY_BACKEND,
	SG_KEYS,
};

struct sg_rule {
	char glob[SG_GLOB_MAX + 1];
	enum sg_mode mode;
	uint64_t max_delay_ns;
	uint64_t max_records;
	uint64_t max_bytes;
	bool adapt;
	uint64_t stall_ns;
	enum sg_on_stall on_stall;
	char spill_dir[SG_POLICY_SPILL_MAX +
		       1]; /* absolute; "" unless on_stall is SG_ON_STALL_SPILL */
	enum sg_on_error on_error;
	enum sg_backend backend;
	uint32_t set;  /* keys that the text gave; the others have their defaults */
	uint32_t line; /* where the rule begins: line of the file, or number of the rule, from 1 */
};

struct sg_policy {
	unsigned int n;
	struct sg_rule rules[SG_POLICY_RULES];
};

/*
 * What is wrong. message is complete and for people, one line, free of control bytes:
 *   spoolguard.conf:12: max_delay = "50": a time needs a unit, like 50ms
 *   SPOOLGUARD_POLICY: rule 2: mode = "fast": no such mode; there are …
 * line is the line of the file or the number of the rule, column the byte in that line (of the
 * whole text in the one-line form), both from 1; 0 when the fault has no place.
 */
struct sg_policy_error {
	unsigned int line;
	unsigned int column;
	char message[256];
};

/* The first error, if any, and warnings: rules that are valid but cannot mean what they seem to. */
struct sg_policy_report {
	struct sg_policy_error error;
	unsigned int
		warnings; /* how many there were; at most SG_POLICY_WARNINGS are in warning[] */
	struct sg_policy_error warning[SG_POLICY_WARNINGS];
};

/* A rule with every default (mode observe) and an empty glob. Pure. */
void sg_rule_init(struct sg_rule *rule);

/*
 * Parses text[0..len), the contents of a policy file, or the one-line form. source names the text in
 * messages (a path is shortened from the left). report may be NULL.
 *
 * Returns 0; or -EINVAL (report->error says what), -E2BIG (more than SG_POLICY_TEXT bytes or
 * SG_POLICY_RULES rules). On error *policy is empty, so that everything falls to observe: half a
 * policy is never in force. An empty text is an empty policy.
 */
int sg_policy_parse_file(struct sg_policy *policy, const char *text, size_t len, const char *source,
			 struct sg_policy_report *report);
int sg_policy_parse_line(struct sg_policy *policy, const char *text, size_t len, const char *source,
			 struct sg_policy_report *report);

/*
 * The first rule whose glob matches path (absolute, resolved, NUL-terminated), NULL when none does.
 * Pure, thread-safe, async-signal-safe; time is bounded (see sg_glob_match).
 */
const struct sg_rule *sg_policy_match(const struct sg_policy *policy, const char *path);

/*
 * Writes a rule, or a whole policy, in the one-line form, with the keys that were given or differ
 * from the default. sg_policy_parse_line() of the result gives the same rule in every field but line.
 * Returns the length without the NUL, or -ENOSPC when size is too small (buf then holds "" if
 * size >= 1). For a rule SG_POLICY_RULE_TEXT bytes always suffice.
 */
int sg_policy_format_rule(const struct sg_rule *rule, char *buf, size_t size);
int sg_policy_format(const struct sg_policy *policy, char *buf, size_t size);

/*
 * Writes the value of one key of a rule as the parser reads it ("window", "50ms", "spill:/run/x").
 * For "policy show". Returns as sg_policy_format_rule, or -EINVAL for no such key.
 */
int sg_policy_format_value(const struct sg_rule *rule, enum sg_policy_key key, char *buf,
			   size_t size);

/* Names as the policy spells them; "?" for a value out of range. Static strings. */
const char *sg_policy_key_name(enum sg_policy_key key);
const char *sg_mode_name(enum sg_mode mode);
const char *sg_on_stall_name(enum sg_on_stall on_stall);
const char *sg_on_error_name(enum sg_on_error on_error);
const char *sg_backend_name(enum sg_backend backend);

#endif
