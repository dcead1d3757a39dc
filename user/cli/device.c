// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard device show | latency: block devices, from the observer only */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cli/cli.h"
#include "cli/kernel.h"

static int look(struct kernel_view **k)
{
	int err = kernel_open(k);

	if (!err)
		return CLI_OK;
	if (err == -ENOENT)
		return cli_fail(CLI_DENIED, "Start one: spoolguard observe, as root.",
				"no observer runs, and only it sees devices");
	if (err == -EPERM || err == -EACCES)
		return cli_fail(CLI_DENIED, "Run this as root.",
				"the observer's maps cannot be read: %s", strerror(-err));
	return cli_fail(cli_exit_of(err), NULL, "the observer's maps cannot be read: %s",
			strerror(-err));
}

/* "vda", "/dev/vda", "254:0" */
static bool is_device(const struct kernel_device *d, const char *word)
{
	unsigned int maj, min;
	struct stat st;
	int end = 0;

	if (!strcmp(d->name, word))
		return true;
	if (sscanf(word, "%u:%u%n", &maj, &min, &end) == 2 && !word[end])
		return d->dev == makedev(maj, min);
	return !stat(word, &st) && S_ISBLK(st.st_mode) && st.st_rdev == d->dev;
}

static json_t *device_json(const struct kernel_device *d, bool buckets)
{
	json_t *ops = json_object();
	int i;

	for (i = 0; i < KERNEL_DEV_OPS; i++) {
		const struct kernel_stat *s = &d->op[i];

		if (s->count)
			json_object_set_new(ops, kernel_dev_op_name(i),
					    json_pack("{so so so so so so}", "count",
						      cli_json_known(true, s->count), "errors",
						      cli_json_known(true, s->errors), "bytes",
						      cli_json_known(true, s->bytes), "total_ns",
						      cli_json_known(true, s->total_ns), "max_ns",
						      cli_json_known(true, s->max_ns), "latency",
						      cli_hist_json(s->hist, s->max_ns, buckets)));
	}
	return json_pack("{so so so so so}", "device", cli_json_str(d->name), "number",
			 json_sprintf("%u:%u", major(d->dev), minor(d->dev)), "in_flight",
			 cli_json_known(true, d->inflight), "oldest_in_flight_ns",
			 cli_json_known(d->oldest_ns, d->oldest_ns), "operations", ops);
}

static int devices_json(const struct kernel_view *k, const char *word, bool buckets)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < k->n_devices; i++)
		if (!word || is_device(&k->devices[i], word))
			json_array_append_new(list, device_json(&k->devices[i], buckets));
	return cli_json(json_pack("{so so}", "tier", cli_json_str(k->tier), "devices", list));
}

static void device_lines(struct cli_table *t, const struct kernel_device *d)
{
	int i;

	for (i = 0; i < KERNEL_DEV_OPS; i++) {
		const struct kernel_stat *s = &d->op[i];

		if (!s->count)
			continue;
		cli_table_line(t);
		cli_table_text(t, d->name);
		cli_table_text(t, kernel_dev_op_name(i));
		cli_table_count(t, s->count);
		cli_table_bytes(t, s->bytes);
		cli_table_time(t, sg_hist_quantile(s->hist, SG_P50, s->max_ns));
		cli_table_time(t, sg_hist_quantile(s->hist, SG_P99, s->max_ns));
		cli_table_time(t, s->max_ns);
		cli_table_count(t, s->errors);
		if (d->oldest_ns)
			cli_table_time(t, d->oldest_ns);
		else
			cli_table_none(t);
	}
}

static void devices_table(const struct kernel_view *k, const char *word)
{
	struct cli_table *t = cli_table_new();
	unsigned int i;

	cli_table_column(t, "DEVICE", CLI_LEFT);
	cli_table_column(t, "OPERATION", CLI_LEFT);
	cli_table_column(t, "COUNT", CLI_RIGHT);
	cli_table_column(t, "BYTES", CLI_RIGHT);
	cli_table_column(t, "p50", CLI_RIGHT);
	cli_table_column(t, "p99", CLI_RIGHT);
	cli_table_column(t, "max", CLI_RIGHT);
	cli_table_column(t, "ERRORS", CLI_RIGHT);
	cli_table_column(t, "IN FLIGHT", CLI_RIGHT);
	for (i = 0; i < k->n_devices; i++)
		if (!word || is_device(&k->devices[i], word))
			device_lines(t, &k->devices[i]);
	cli_table_print(t, stdout);
}

static int check_word(const struct kernel_view *k, const char *word)
{
	char clean[256];
	unsigned int i;

	for (i = 0; word && i < k->n_devices; i++)
		if (is_device(&k->devices[i], word))
			return CLI_OK;
	return !word ? CLI_OK
		     : cli_fail(CLI_IO, "See: spoolguard device show",
				"%s: no such device was used yet",
				cli_clean(clean, sizeof(clean), word));
}

static int do_show(const struct cli_args *a)
{
	const char *word = a->argc ? a->argv[0] : NULL;
	struct kernel_view *k;
	int rc = look(&k);

	if (rc)
		return rc;
	rc = check_word(k, word);
	if (!rc && cli.json)
		rc = devices_json(k, word, false);
	else if (!rc && !k->n_devices)
		puts("No block device was used yet, or this tier cannot see them.");
	else if (!rc)
		devices_table(k, word);
	kernel_free(k);
	return rc;
}

static int do_latency(const struct cli_args *a)
{
	struct kernel_view *k;
	unsigned int i, op;
	char title[64];
	int rc = look(&k);

	if (rc)
		return rc;
	rc = check_word(k, a->argv[0]);
	if (!rc && cli.json)
		rc = devices_json(k, a->argv[0], true);
	for (i = 0; !rc && !cli.json && i < k->n_devices; i++) {
		if (!is_device(&k->devices[i], a->argv[0]))
			continue;
		for (op = 0; op < KERNEL_DEV_OPS; op++) {
			snprintf(title, sizeof(title), "%s, %s", k->devices[i].name,
				 kernel_dev_op_name(op));
			if (k->devices[i].op[op].count)
				cli_hist_print(stdout, title, k->devices[i].op[op].hist,
					       k->devices[i].op[op].max_ns);
		}
	}
	kernel_free(k);
	return rc;
}

static const struct cli_command commands[] = {
	{ .name = "show",
	  .args = "[DEV]",
	  .help = "one line per block device and operation",
	  .complete = "device",
	  .max_args = 1,
	  .is_default = true,
	  .run = do_show },
	{ .name = "latency",
	  .args = "DEV",
	  .help = "draw the latencies of a device",
	  .complete = "device",
	  .min_args = 1,
	  .max_args = 1,
	  .run = do_latency },
	{ .run = NULL },
};
const struct cli_object cli_device = {
	"device", "block devices: their latencies, so that a stall can be put down to one", commands
};
