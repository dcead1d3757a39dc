/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Session memory that a stranger wrote: the input is a list of (offset, value) stores into a session that
 * was in order. Whatever they are, every reader ends, stays inside, and hands out strings that end and
 * hold nothing a terminal obeys.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guard/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STORES 64

struct store {
	uint32_t at;
	uint64_t value;
} __attribute__((packed));

static struct sg_session *fresh(void)
{
	struct sg_session *s = calloc(1, sizeof(*s));
	struct sg_event e = { .kind = SG_EV_SYNC_ERROR, .path = "/var/log/a" };
	uint32_t i;

	sg_session_init(s, SG_ROLE_GUARDED, 7, 1000, 2000);
	for (i = 0; i < 8; i++) {
		strcpy(s->files[i].path, "/var/log/a");
		atomic_store(&s->files[i].state, SG_SLOT_LIVE);
		sg_session_event(s, &e);
	}
	return s;
}

static void check_path(const char *path)
{
	size_t i = 0;

	for (; path[i]; i++)
		if (i >= SG_PATH_BYTES || (unsigned char)path[i] < 0x20 || path[i] == 0x7f)
			abort();
}

static void read_all(const struct sg_session *s)
{
	static struct sg_session_file f;
	struct sg_event e;
	uint64_t seq = 0, dropped = 0;
	uint32_t i, n = 0;

	for (i = 0; i < SG_FILES + 2; i++)
		if (sg_session_read_file(s, i, &f) == 0)
			check_path(f.path);
	while (sg_session_read_event(s, &seq, &e, &dropped) == 1) {
		check_path(e.path);
		sg_event_name(e.kind);
		sg_op_name(e.op);
		if (++n > SG_EVENTS)
			abort();
	}
	sg_hist_quantile((const uint64_t *)s->files[0].sync_hist, SG_P99,
			 s->files[0].counter[SG_C_SYNC_MAX_NS]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sg_session *s = fresh();
	struct store st;
	size_t i;

	for (i = 0; i < STORES && size >= sizeof(st); i++, data += sizeof(st), size -= sizeof(st)) {
		memcpy(&st, data, sizeof(st));
		/* Half of them near the front and the events' counter, where the structure is. */
		st.at = st.at & 1 ? st.at % sizeof(*s) : st.at % 512;
		memcpy((char *)s + (st.at > sizeof(*s) - 8 ? sizeof(*s) - 8 : st.at), &st.value,
		       sizeof(st.value));
	}
	if (sg_session_check(s, sizeof(*s)) == 0 || size % 2)
		read_all(s);
	sg_session_check(s, size);
	free(s);
	return 0;
}
