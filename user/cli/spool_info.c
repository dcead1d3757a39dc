// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * spoolguard spool info: what a spool holds, and who reads it. Of a native one only the last segment is read; of the
 * others, which have no such order, all is.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli/spool.h"
#include "guard/units.h"
#include "spool/cursor.h"
#include "spool/foreign.h"
#include "spool/segment.h"
#include "spool/source.h"

struct consumers {
	json_t *list;
	uint64_t last;
};

struct info {
	enum spool_format format;
	uint64_t segments, first, last, durable, bytes, created_ns;
	bool has_id, live, ends_well;
	uint8_t id[SPOOL_ID_BYTES];
	struct consumers consumers;
};

/* ---- native ---- */

/* The last number, and whether the last segment ends with a whole record. */
static int walk_last(struct info *i, int dirfd, uint64_t number)
{
	struct sg_segment_header h;
	struct sg_segment *s;
	struct sg_event e;
	const char *why;
	int err = sg_segment_open(&s, dirfd, number, number - 1, NULL);

	if (err)
		return err;
	sg_segment_checks_only(s);
	sg_segment_header(s, &h, &why);
	memcpy(i->id, h.id, sizeof(i->id));
	i->has_id = true;
	i->created_ns = h.created_ns;
	do
		err = sg_segment_next(s, &e);
	while (!err && (e.kind == SG_EVENT_FRAME || e.kind == SG_EVENT_DAMAGE));
	i->ends_well = e.kind == SG_EVENT_END;
	i->last = sg_segment_last_seq(s);
	sg_segment_close(s);
	return err;
}

static int add_consumer(void *arg, const char *name, int err, const struct sg_cursor *c)
{
	struct consumers *all = arg;
	json_t *one;

	if (err)
		one = json_pack("{so sn sn so}", "name", cli_json_str(name), "acked", "behind",
				"error", cli_json_str(strerror(-err)));
	else
		one = json_pack(
			"{so so so sn}", "name", cli_json_str(name), "acked",
			cli_json_known(true, c->acked), "behind",
			cli_json_known(true, all->last > c->acked ? all->last - c->acked : 0),
			"error");
	json_array_append_new(all->list, one);
	return 0;
}

/* Beside a writer that is what it says; else every record becomes durable before anybody gets it. */
static uint64_t durable(const struct info *i, const char *dir)
{
	struct sg_source s;
	uint64_t seq = i->last;

	if (!i->live)
		return i->last;
	if (sg_source_open(&s, dir, SPOOL_FORMAT_NATIVE) == 0 && s.limit < seq)
		seq = s.limit;
	sg_source_close(&s);
	return seq;
}

static int native_info(struct info *i, int dirfd, const char *dir)
{
	struct sg_numbers list;
	int err = sg_dir_list(dirfd, SG_SEGMENT, &list);

	i->live = sg_dir_locked(dirfd);
	i->segments = list.n;
	i->ends_well = true;
	if (!err && list.n) {
		i->first = list.v[0];
		err = walk_last(i, dirfd, list.v[list.n - 1]);
		if (err == -EBADMSG || err == -ENOENT) { /* no header; or gone while we looked */
			i->ends_well = false;
			err = 0;
		}
	}
	sg_numbers_free(&list);
	if (!err)
		err = sg_dir_bytes(dirfd, &i->bytes);
	i->consumers.last = i->last;
	i->durable = durable(i, dir);
	if (!err && i->has_id)
		err = sg_cursor_each(dirfd, i->id, add_consumer, &i->consumers);
	return err;
}

/* ---- the others ---- */

static int foreign_info(struct info *i, const char *dir)
{
	struct spool_check_config config = SPOOL_CHECK_CONFIG_INIT;
	struct spool_summary s = { 0 };
	int found;

	config.format = i->format;
	found = spool_verify(dir, &config, &s);
	if (found < 0)
		return found;
	i->segments = s.segments;
	i->first = s.first_seq;
	i->last = i->durable = s.last_seq;
	i->bytes = s.bytes;
	i->ends_well = found == 0;
	return 0;
}

/* ---- printing ---- */

static const char *hex(char out[2 * SPOOL_ID_BYTES + 1], const uint8_t *id)
{
	unsigned int i;

	for (i = 0; i < SPOOL_ID_BYTES; i++)
		snprintf(out + (size_t)2 * i, 3, "%02x", id[i]);
	return out;
}

/* Numbers, not how many: whether one of them is missing only a full read would tell. */
static bool any(const struct info *i)
{
	return i->last && i->last >= i->first;
}

static int print_json(const struct info *i, const char *dir)
{
	char id[2 * SPOOL_ID_BYTES + 1];
	bool native = i->format == SPOOL_FORMAT_NATIVE;

	return cli_json(json_pack(
		"{so ss so so so so so so so so so}", "spool", cli_json_str(dir), "format",
		spool_format_name(i->format), "id",
		i->has_id ? json_string(hex(id, i->id)) : json_null(), "segments",
		cli_json_known(true, i->segments), "bytes", cli_json_known(true, i->bytes), "first",
		cli_json_known(any(i), i->first), "last", cli_json_known(any(i), i->last),
		"durable", cli_json_known(native, i->durable), "writer",
		native ? json_boolean(i->live) : json_null(), "ends_well",
		json_boolean(i->ends_well), "consumers", json_incref(i->consumers.list)));
}

static void print_consumers(const json_t *list)
{
	struct cli_table *t = cli_table_new();
	const char *error;
	size_t k;
	json_t *c;

	cli_table_column(t, "CONSUMER", CLI_LEFT);
	cli_table_column(t, "ACKNOWLEDGED", CLI_RIGHT);
	cli_table_column(t, "BEHIND", CLI_RIGHT);
	json_array_foreach (list, k, c) {
		error = json_string_value(json_object_get(c, "error"));
		cli_table_line(t);
		cli_table_text(t, json_string_value(json_object_get(c, "name")));
		if (error) {
			cli_table_bad(t, error);
			cli_table_none(t);
			continue;
		}
		cli_table_count(t, (uint64_t)json_integer_value(json_object_get(c, "acked")));
		cli_table_count(t, (uint64_t)json_integer_value(json_object_get(c, "behind")));
	}
	cli_table_print(t, stdout);
}

static int print(const struct info *i)
{
	bool native = i->format == SPOOL_FORMAT_NATIVE;
	char id[2 * SPOOL_ID_BYTES + 1], size[SG_UNITS_MAX];

	printf("Format:   %s\n", spool_format_name(i->format));
	if (i->has_id)
		printf("Identity: %s\n", hex(id, i->id));
	printf("Files:    %" PRIu64 " with records, %s in all\n", i->segments,
	       sg_units_bytes(size, sizeof(size), i->bytes));
	if (any(i))
		printf("Records:  %" PRIu64 " to %" PRIu64 "\n", i->first, i->last);
	else
		printf("Records:  none\n");
	if (native && any(i))
		printf("Durable:  up to %" PRIu64 "\n", i->durable);
	if (native)
		printf("Writer:   %s\n", i->live ? "at work" : "none");
	if (!i->ends_well && !i->live)
		printf("Fault:    the end is no whole record, or worse; see: spoolguard spool "
		       "verify DIR\n");
	if (json_array_size(i->consumers.list))
		print_consumers(i->consumers.list);
	return CLI_OK;
}

int spool_do_info(const struct cli_args *a)
{
	struct info i = { .consumers.list = json_array() };
	const char *dir = a->argv[0];
	int rc = spool_opt_format(a, "format", &i.format), err = 0, dirfd;

	if (rc) {
		json_decref(i.consumers.list);
		return rc;
	}
	dirfd = sg_dir_open(dir);
	err = dirfd < 0 ? dirfd : 0;
	if (!err && i.format == SPOOL_FORMAT_DETECT)
		err = sg_format_detect(dirfd, &i.format);
	if (!err)
		err = i.format == SPOOL_FORMAT_NATIVE ? native_info(&i, dirfd, dir)
						      : foreign_info(&i, dir);
	if (dirfd >= 0)
		close(dirfd);
	if (err)
		rc = spool_fail(err, dir);
	else
		rc = cli.json ? print_json(&i, dir) : print(&i);
	json_decref(i.consumers.list);
	return rc;
}
