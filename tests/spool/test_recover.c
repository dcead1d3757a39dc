// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Recovery, against a model that knows where each frame lies: for every cut, every flipped byte, every system call at
 * which it is killed or that fails. SWEEP=full takes every byte of the larger sweeps, the default every few.
 */
#include "tap.h"

#include <inttypes.h>
#include <stdarg.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "found.h"
#include "spool/index.h"

/* ---- system calls that change something, counted; one of them ends or fails ---- */

static struct {
	long at; /* the how many-eth; 0: none */
	long seen;
	int error; /* what it returns; 0: the process ends there */
	bool half; /* a write that ends it writes half before */
	bool from_then_on;
	bool writes_only;     /* the others are not counted */
	uint64_t free_blocks; /* what statvfs tells; 0: the truth */
} fault;

/*
 * What is not synced yet, by inode, while `watched.on`: files written, directories in which a name changed. An index
 * is only a hint, so neither it nor its name counts.
 */
static struct {
	bool on;
	ino_t dirty[64];
	unsigned int n;
	unsigned int early; /* a name or bytes went before what they depend on was synced */
	unsigned int renames, cuts, drops;
} watched;

static bool ends(const char *name, const char *with)
{
	size_t a = strlen(name), b = strlen(with);

	return a >= b && strcmp(name + a - b, with) == 0;
}

static void dirty(int fd)
{
	struct stat st;

	if (!watched.on || fstat(fd, &st) != 0)
		return;
	must(watched.n < 64, "room for what is not synced");
	watched.dirty[watched.n++] = st.st_ino;
}

static void synced(int fd)
{
	struct stat st;
	unsigned int i;

	if (!watched.on || fstat(fd, &st) != 0)
		return;
	for (i = 0; i < watched.n;)
		if (watched.dirty[i] == st.st_ino)
			watched.dirty[i] = watched.dirty[--watched.n];
		else
			i++;
}

static bool is_index(int fd)
{
	char path[64], name[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, name, sizeof(name) - 1);
	name[n < 0 ? 0 : n] = '\0';
	return ends(name, ".index.tmp");
}

/* Something goes away, or takes another's place: by now all before it has to be safe. */
static void point_of_no_return(unsigned int *count)
{
	if (!watched.on)
		return;
	watched.early += watched.n != 0;
	++*count;
}

static bool hit(void)
{
	if (!fault.at)
		return false;
	fault.seen++;
	return fault.seen == fault.at || (fault.from_then_on && fault.seen > fault.at);
}

static bool hit_other(void)
{
	return !fault.writes_only && hit();
}

static long injected(void)
{
	if (!fault.error)
		_exit(99);
	errno = fault.error;
	return -1;
}

int openat(int dirfd, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	if ((flags & O_CREAT) && hit_other())
		return (int)injected();
	if ((flags & O_CREAT) && !ends(path, ".tmp") && strcmp(path, "lock") != 0)
		dirty(dirfd);
	return (int)syscall(SYS_openat, dirfd, path, flags, flags & O_CREAT ? mode : 0);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
	if (hit()) {
		if (fault.half)
			syscall(SYS_pwrite64, fd, buf, n / 2, offset);
		return injected();
	}
	if (watched.on && !is_index(fd))
		dirty(fd);
	return syscall(SYS_pwrite64, fd, buf, n, offset);
}

int fsync(int fd)
{
	if (hit_other())
		return (int)injected();
	synced(fd);
	return (int)syscall(SYS_fsync, fd);
}

int ftruncate(int fd, off_t size)
{
	if (hit_other())
		return (int)injected();
	point_of_no_return(&watched.cuts);
	dirty(fd);
	return (int)syscall(SYS_ftruncate, fd, size);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
	if (hit_other())
		return (int)injected();
	dirty(dirfd);
	return (int)syscall(SYS_mkdirat, dirfd, path, mode);
}

int linkat(int from, const char *path, int to, const char *name, int flags)
{
	if (hit_other())
		return (int)injected();
	dirty(to);
	return (int)syscall(SYS_linkat, from, path, to, name, flags);
}

int renameat(int from, const char *path, int to, const char *name)
{
	if (hit_other())
		return (int)injected();
	if (ends(name, ".spool")) {
		point_of_no_return(&watched.renames);
		dirty(to);
	}
	return (int)syscall(SYS_renameat2, from, path, to, name, 0);
}

int unlinkat(int dirfd, const char *path, int flags)
{
	if (hit_other())
		return (int)injected();
	if (ends(path, ".spool")) {
		point_of_no_return(&watched.drops);
		dirty(dirfd);
	}
	return (int)syscall(SYS_unlinkat, dirfd, path, flags);
}

int fstatvfs(int fd, struct statvfs *st)
{
	memset(st, 0, sizeof(*st));
	st->f_frsize = 4096;
	st->f_bavail = fault.free_blocks ? fault.free_blocks : 1u << 30;
	return 0;
}

/* ---- the model: a segment, and where its frames lie ---- */

#define MODEL_MAX 128

struct model {
	struct made bytes;
	uint64_t first;
	unsigned int n;
	size_t at[MODEL_MAX + 1]; /* at[n]: the end */
	uint32_t risk[MODEL_MAX];
};

/* Records of all sorts: empty, of zeros, text, with a frame of another spool inside. */
static void model_add(struct model *m, uint64_t seq)
{
	static const uint8_t zeros[24];
	struct made inner = { 0 };
	char text[40];

	m->risk[m->n] = (uint32_t)(seq % 4 < seq ? seq % 4 : seq - 1);
	if (seq % 5 == 0) {
		made_frame_of(&inner, MAKE_OTHER_ID, seq, 0, "other", 5);
		made_frame_of(&m->bytes, MAKE_ID, seq, m->risk[m->n], inner.p, inner.n);
		made_free(&inner);
	} else if (seq % 5 == 1) {
		made_frame_of(&m->bytes, MAKE_ID, seq, m->risk[m->n], zeros, seq % sizeof(zeros));
	} else {
		snprintf(text, sizeof(text), "record %u of some length", (unsigned int)seq);
		made_frame_of(&m->bytes, MAKE_ID, seq, m->risk[m->n], text, seq % strlen(text));
	}
	m->at[++m->n] = m->bytes.n;
}

static struct model model(uint64_t first, unsigned int n, uint32_t flags)
{
	struct model m = { .first = first };
	unsigned int i;

	made_header(&m.bytes, MAKE_ID, first, flags);
	m.at[0] = m.bytes.n;
	for (i = 0; i < n; i++)
		model_add(&m, first + i);
	return m;
}

/* The segment that recovery must make: the header, and the frames that keep[] has. */
static struct made expected(const struct model *m, const bool *keep)
{
	struct made e = { 0 };
	unsigned int i;

	made_add(&e, m->bytes.p, SG_HEADER_BYTES);
	for (i = 0; i < m->n; i++)
		if (keep[i])
			made_add(&e, m->bytes.p + m->at[i], m->at[i + 1] - m->at[i]);
	return e;
}

/* Of the records from to to, how many do the frames that are kept prove durable? */
static uint64_t durable_of(const struct model *m, const bool *keep, uint64_t from, uint64_t to)
{
	uint64_t known = 0, seq, n = 0;
	unsigned int i;

	for (i = 0; i < m->n; i++) {
		seq = m->first + i;
		if (keep[i] && seq - 1 - m->risk[i] > known)
			known = seq - 1 - m->risk[i];
	}
	for (seq = from; seq <= to; seq++)
		n += seq <= known;
	return n;
}

static bool segment_is(const struct dir *d, uint64_t number, const struct made *want)
{
	struct made have = dir_get_segment(d, number);
	bool same = have.p && made_same(&have, want);

	made_free(&have);
	return same;
}

/* Everything again and nothing moves: neither the segment nor the quarantine. */
static bool settled(const struct dir *d, uint64_t number, unsigned int gaps)
{
	struct made before = dir_get_segment(d, number);
	unsigned int kept = dir_count(d, "quarantine"), i;
	struct found all;
	bool ok = verify(d, &all, NULL) == (gaps ? 1 : 0) && all.n == gaps;

	for (i = 0; i < all.n; i++)
		ok = ok && all.v[i].kind == SPOOL_FOUND_GAP;
	ok = ok && recover(d, &all, NULL) == (gaps ? 1 : 0) && all.n == gaps;
	ok = ok && kept == dir_count(d, "quarantine");
	ok = ok && (!before.p || segment_is(d, number, &before));
	made_free(&before);
	return ok;
}

static int remove_below(const char *path, const struct stat *st, int kind, struct FTW *f)
{
	return f->level ? remove(path) : 0;
}

static void fresh(const struct dir *d)
{
	must(nftw(d->path, remove_below, 8, FTW_DEPTH | FTW_PHYS) == 0, "nftw");
}

/* The same where it is known what lies there, for the sweeps. */
static void fresh_segment(const struct dir *d, const struct found *all)
{
	char name[128];
	unsigned int i;

	for (i = 0; i < all->n && i < FOUND_MAX; i++) {
		snprintf(name, sizeof(name), "quarantine/%s", all->kept[i]);
		if (all->kept[i][0])
			unlinkat(d->fd, name, 0);
	}
	unlinkat(d->fd, "00000000000000000001.index", 0);
	must(dir_count(d, "quarantine") == 0, "an empty quarantine");
}

/* ---- sweeps ---- */

static unsigned int step(unsigned int quick)
{
	const char *s = getenv("SWEEP");

	return s && strcmp(s, "full") == 0 ? 1 : quick;
}

/* One cut of 100 records: what is whole stays, what is not lies in the quarantine. */
static bool cut_is_right(const struct dir *d, const struct model *m, size_t n)
{
	bool keep[MODEL_MAX] = { 0 }, ok;
	struct spool_summary sum;
	struct found all;
	struct made part = { 0 }, want;
	unsigned int whole = 0;
	size_t torn;

	made_add(&part, m->bytes.p, n);
	dir_put_segment(d, 1, &part);
	while (whole < m->n && m->at[whole + 1] <= n)
		keep[whole++] = true;
	torn = n - m->at[whole];
	want = expected(m, keep);
	ok = verify(d, &all, &sum) == (torn ? 1 : 0) && all.n == (torn ? 1 : 0);
	ok = ok && sum.records == whole && sum.torn_bytes == torn && sum.damaged_bytes == 0;
	ok = ok && (!torn || found_is(&all, 0, SPOOL_FOUND_TORN, 1, m->at[whole], torn));
	ok = ok && segment_is(d, 1, &part);
	ok = ok && recover(d, &all, &sum) == (torn ? 1 : 0) && all.n == (torn ? 1 : 0);
	ok = ok && sum.records == whole && sum.quarantined_bytes == torn;
	ok = ok && segment_is(d, 1, &want);
	ok = ok && dir_count(d, "quarantine") == (torn ? 1 : 0);
	ok = ok && (!torn || found_kept(d, &all, 0, m->bytes.p + m->at[whole], torn));
	ok = ok && settled(d, 1, 0);
	fresh_segment(d, &all);
	made_free(&part);
	made_free(&want);
	return ok;
}

static void test_every_cut_of_100_records_leaves_what_is_whole(void)
{
	struct model m = model(1, 100, 0);
	struct dir d = dir_begin();
	unsigned int bad = 0;
	size_t n;

	for (n = SG_HEADER_BYTES; n <= m.bytes.n; n++)
		if (!cut_is_right(&d, &m, n) && !bad++)
			printf("# first wrong cut: %zu\n", n);
	CU_ASSERT_EQUAL(bad, 0);
	made_free(&m.bytes);
	dir_end(&d);
}

/* With less than a header there is no record, and nothing to tell whose file it was: it is put away whole. */
static void test_every_cut_of_a_header_is_put_away(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	unsigned int bad = 0;
	struct found all;

	made_header(&m, MAKE_ID, 1, 0);
	for (m.n = 0; m.n < SG_HEADER_BYTES; m.n++) {
		dir_put_segment(&d, 1, &m);
		bad += verify(&d, &all, NULL) != 1 ||
		       !found_is(&all, 0, SPOOL_FOUND_HEADER, 1, 0, m.n);
		bad += recover(&d, &all, NULL) != 1 || all.n != 1;
		bad += !found_kept(&d, &all, 0, m.p, m.n) || dir_count(&d, "quarantine") != 1;
		bad += verify(&d, &all, NULL) != 0;
		fresh(&d);
	}
	CU_ASSERT_EQUAL(bad, 0);
	made_free(&m);
	dir_end(&d);
}

/* One changed byte of 30 records: all other frames stay, byte for byte. */
static bool flip_is_right(const struct dir *d, const struct model *m, size_t at, uint8_t with)
{
	bool keep[MODEL_MAX], ok, header = at < SG_HEADER_BYTES, last;
	struct spool_summary sum;
	struct found all;
	struct made hurt = { 0 }, want;
	unsigned int i, which = 0;
	uint64_t seq, durable;

	made_add(&hurt, m->bytes.p, m->bytes.n);
	hurt.p[at] ^= with;
	dir_put_segment(d, 1, &hurt);
	for (i = 0; i < m->n; i++) {
		keep[i] = at < m->at[i] || at >= m->at[i + 1];
		if (!keep[i])
			which = i;
	}
	want = expected(m, keep);
	seq = m->first + which;
	last = !header && which + 1 == m->n;
	durable = durable_of(m, keep, seq, seq);
	ok = verify(d, &all, &sum) == 1 && all.n == 1;
	ok = ok && sum.records == m->n - (header ? 0 : 1);
	if (header)
		ok = ok && found_is(&all, 0, SPOOL_FOUND_HEADER, 1, at / 64 * 64, 64);
	else
		ok = ok && found_is(&all, 0, last ? SPOOL_FOUND_TORN : SPOOL_FOUND_DAMAGE, 1,
				    m->at[which], m->at[which + 1] - m->at[which]);
	if (!header && !last)
		ok = ok && found_cost(&all, 0, seq, seq, durable);
	ok = ok && recover(d, &all, &sum) == 1 && all.n == 1;
	ok = ok && segment_is(d, 1, &want);
	if (last)
		ok = ok &&
		     found_kept(d, &all, 0, hurt.p + m->at[which], m->at[which + 1] - m->at[which]);
	else
		ok = ok && found_kept(d, &all, 0, hurt.p, hurt.n);
	ok = ok && settled(d, 1, header || last ? 0 : 1);
	fresh_segment(d, &all);
	made_free(&hurt);
	made_free(&want);
	return ok;
}

static void test_every_flip_in_30_records_costs_its_record_only(void)
{
	struct model m = model(1, 30, 0);
	struct dir d = dir_begin();
	unsigned int bad = 0;
	size_t at;

	for (at = 0; at < m.bytes.n; at++)
		if ((!flip_is_right(&d, &m, at, 0xff) ||
		     !flip_is_right(&d, &m, at, (uint8_t)(1u << at % 8))) &&
		    !bad++)
			printf("# first wrong flip: %zu\n", at);
	CU_ASSERT_EQUAL(bad, 0);
	made_free(&m.bytes);
	dir_end(&d);
}

/* A cut and a flip before it, in a preallocated segment with zeros behind. */
static void test_every_cut_before_zeros_with_damage_in_the_middle(void)
{
	struct model m = model(1, 30, SG_HEADER_ZEROS);
	struct dir d = dir_begin();
	unsigned int bad = 0, whole, i;
	struct made hurt = { 0 }, want;
	bool keep[MODEL_MAX];
	struct found all;
	size_t n, at;

	for (n = m.at[12]; n < m.bytes.n; n += step(7)) {
		at = m.at[3] + n % (m.at[4] - m.at[3]);
		hurt.n = 0;
		made_add(&hurt, m.bytes.p, n);
		hurt.p[at] ^= 0x5a;
		made_add(&hurt, NULL, 3000);
		dir_put_segment(&d, 1, &hurt);
		/* What was cut off may have been zeros: then nothing is torn. */
		for (whole = 0; whole < m.n && m.at[whole + 1] <= n;)
			whole++;
		while (whole < m.n && memcmp(hurt.p + m.at[whole], m.bytes.p + m.at[whole],
					     m.at[whole + 1] - m.at[whole]) == 0)
			whole++;
		for (i = 0; i < m.n; i++)
			keep[i] = i != 3 && i < whole;
		want = expected(&m, keep);
		bad += verify(&d, &all, NULL) != 1 ||
		       !found_is(&all, 0, SPOOL_FOUND_DAMAGE, 1, m.at[3], m.at[4] - m.at[3]);
		bad += recover(&d, &all, NULL) != 1 || !segment_is(&d, 1, &want);
		bad += !found_kept(&d, &all, 0, hurt.p, hurt.n) || !settled(&d, 1, 1);
		fresh(&d);
		made_free(&want);
	}
	CU_ASSERT_EQUAL(bad, 0);
	made_free(&hurt);
	made_free(&m.bytes);
	dir_end(&d);
}

/* ---- several segments ---- */

/* Four segments of 10 records: a torn tail, damage and a lost header, one missing, one of another spool. */
static void put_ruin(const struct dir *d, struct model m[4])
{
	struct made hurt = { 0 }, foreign = { 0 };
	unsigned int i;

	for (i = 0; i < 4; i++)
		m[i] = model(1 + 10 * (uint64_t)i, 10, 0);
	made_add(&hurt, m[0].bytes.p, m[0].bytes.n);
	memset(hurt.p, 0xaa, SG_HEADER_BYTES);
	hurt.p[m[0].at[4]] ^= 1;
	hurt.n -= 4;
	dir_put_segment(d, 1, &hurt);
	/* m[1] is missing. */
	hurt.n = 0;
	made_add(&hurt, m[2].bytes.p, m[2].bytes.n - 1);
	dir_put_segment(d, 21, &hurt);
	hurt.n = 0;
	made_add(&hurt, m[3].bytes.p, m[3].bytes.n - 2);
	dir_put_segment(d, 31, &hurt);
	made_header(&foreign, MAKE_OTHER_ID, 25, 0);
	made_frame_of(&foreign, MAKE_OTHER_ID, 25, 0, "x", 1);
	dir_put_segment(d, 25, &foreign);
	dir_put(d, "notes.txt", "left alone", 10);
	made_free(&hurt);
	made_free(&foreign);
}

static void model_free(struct model m[4])
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		made_free(&m[i].bytes);
}

static bool ruin_is_mended(const struct dir *d, const struct model m[4])
{
	bool keep[MODEL_MAX] = { 0 }, ok;
	struct made want;
	struct found all;
	unsigned int i;

	for (i = 0; i < 9; i++)
		keep[i] = i != 4;
	want = expected(&m[0], keep);
	/* Of the lost header only the time is gone: that of the first record stands in. */
	{
		struct sg_segment_header h = { .first_seq = 1, .created_ns = 1001 };

		memcpy(h.id, MAKE_ID, sizeof(h.id));
		sg_segment_header_write(want.p, &h);
	}
	ok = segment_is(d, 1, &want);
	made_free(&want);
	keep[4] = true;
	want = expected(&m[2], keep);
	ok = ok && segment_is(d, 21, &want);
	made_free(&want);
	want = expected(&m[3], keep);
	ok = ok && segment_is(d, 31, &want);
	made_free(&want);
	want = dir_get(d, "00000000000000000025.spool");
	ok = ok && want.p == NULL;
	want = dir_get(d, "notes.txt");
	ok = ok && want.n == 10;
	made_free(&want);
	/* Gaps: 5, 10 to 20 (one, behind the first segment), 30. */
	ok = ok && verify(d, &all, NULL) == 1 && all.n == 3;
	for (i = 0; i < all.n; i++)
		ok = ok && all.v[i].kind == SPOOL_FOUND_GAP;
	ok = ok && found_cost(&all, 0, 5, 5, 1) && found_cost(&all, 1, 10, 20, 11) &&
	     found_cost(&all, 2, 30, 30, 1);
	return ok;
}

static void test_a_ruin_of_several_segments_is_mended(void)
{
	struct dir d = dir_begin();
	struct spool_summary sum;
	struct model m[4];
	struct found all;

	put_ruin(&d, m);
	CU_ASSERT_EQUAL(recover(&d, &all, &sum), 1);
	CU_ASSERT_EQUAL(all.n, 7);
	CU_ASSERT(found_is(&all, 0, SPOOL_FOUND_HEADER, 1, 0, 128));
	CU_ASSERT(found_is(&all, 1, SPOOL_FOUND_DAMAGE, 1, m[0].at[4], m[0].at[5] - m[0].at[4]));
	CU_ASSERT(
		found_is(&all, 2, SPOOL_FOUND_DAMAGE, 1, m[0].at[9], m[0].at[10] - m[0].at[9] - 4));
	CU_ASSERT(found_cost(&all, 2, 10, 20, 11));
	CU_ASSERT(found_is(&all, 3, SPOOL_FOUND_INDEX, 21, 0, 0));
	CU_ASSERT(found_is(&all, 4, SPOOL_FOUND_FOREIGN, 25, 0, 128 + 33));
	CU_ASSERT(found_is(&all, 5, SPOOL_FOUND_DAMAGE, 21, m[2].at[9],
			   m[2].at[10] - m[2].at[9] - 1));
	CU_ASSERT(
		found_is(&all, 6, SPOOL_FOUND_TORN, 31, m[3].at[9], m[3].at[10] - m[3].at[9] - 2));
	CU_ASSERT_STRING_EQUAL(all.kept[0], all.kept[1]);
	CU_ASSERT_EQUAL(dir_count(&d, "quarantine"), 4);
	CU_ASSERT(ruin_is_mended(&d, m));
	model_free(m);
	dir_end(&d);
}

static void test_dry_run_tells_the_same_and_touches_nothing(void)
{
	struct spool_check_config c;
	struct dir d = dir_begin();
	struct model m[4];
	struct found all, dry;
	unsigned int i;

	put_ruin(&d, m);
	c = found_config(&dry);
	c.dry_run = true;
	CU_ASSERT_EQUAL(spool_recover(d.path, &c, NULL), 1);
	CU_ASSERT_EQUAL(dir_count(&d, "."), 5);
	CU_ASSERT_EQUAL(recover(&d, &all, NULL), 1);
	CU_ASSERT_EQUAL(dry.n, all.n);
	for (i = 0; i < all.n; i++) {
		CU_ASSERT(dry.v[i].kind == all.v[i].kind && dry.v[i].offset == all.v[i].offset &&
			  dry.v[i].bytes == all.v[i].bytes && dry.v[i].to_seq == all.v[i].to_seq &&
			  !dry.kept[i][0]);
		CU_ASSERT_STRING_EQUAL(dry.file[i], all.file[i]);
	}
	model_free(m);
	dir_end(&d);
}

static void test_recover_beside_a_writer_is_refused(void)
{
	struct spool_check_config c = SPOOL_CHECK_CONFIG_INIT;
	struct dir d = dir_begin();
	struct model m[4];
	struct found all;
	int lock;

	put_ruin(&d, m);
	lock = sg_dir_lock(d.fd, 0640);
	CU_ASSERT_EQUAL(recover(&d, &all, NULL), -EBUSY);
	c.dry_run = true;
	CU_ASSERT_EQUAL(spool_recover(d.path, &c, NULL), -EBUSY);
	CU_ASSERT_EQUAL(dir_count(&d, "."), 6);
	close(lock);
	CU_ASSERT_EQUAL(recover(&d, &all, NULL), 1);
	model_free(m);
	dir_end(&d);
}

static void test_spool_without_any_identity_is_left_alone(void)
{
	struct dir d = dir_begin();
	struct model m = model(1, 5, 0);
	struct found all;

	memset(m.bytes.p, 0, SG_HEADER_BYTES);
	dir_put_segment(&d, 1, &m.bytes);
	CU_ASSERT_EQUAL(recover(&d, &all, NULL), -EBADMSG);
	CU_ASSERT(segment_is(&d, 1, &m.bytes));
	CU_ASSERT_EQUAL(dir_count(&d, "quarantine"), 0);
	made_free(&m.bytes);
	dir_end(&d);
}

static void test_last_segment_without_header_and_frames_is_put_away(void)
{
	struct dir d = dir_begin();
	struct model m = model(1, 5, 0);
	struct made junk = { 0 };
	struct found all;

	made_add(&junk, NULL, 500);
	junk.p[300] = 1;
	dir_put_segment(&d, 1, &m.bytes);
	dir_put_segment(&d, 6, &junk);
	dir_put(&d, "00000000000000000006.index", "stale", 5);
	CU_ASSERT_EQUAL(recover(&d, &all, NULL), 1);
	CU_ASSERT(all.n == 3 && found_is(&all, 0, SPOOL_FOUND_INDEX, 1, 0, 0));
	CU_ASSERT(found_is(&all, 2, SPOOL_FOUND_TORN, 6, 128, 372));
	CU_ASSERT(found_is(&all, 1, SPOOL_FOUND_HEADER, 6, 0, 128));
	CU_ASSERT(found_kept(&d, &all, 1, junk.p, junk.n));
	CU_ASSERT(settled(&d, 1, 0));
	CU_ASSERT(segment_is(&d, 1, &m.bytes));
	/* lock, quarantine, the good segment and its index. */
	CU_ASSERT_EQUAL(dir_count(&d, "."), 4);
	made_free(&junk);
	made_free(&m.bytes);
	dir_end(&d);
}

static void test_indexes_are_rebuilt(void)
{
	struct dir d = dir_begin();
	uint64_t seq = 0, offset = 0, i;
	struct made a = { 0 };
	struct model b = model(1001, 5, 0);
	struct found all;

	made_header(&a, MAKE_ID, 1, 0);
	for (i = 1; i <= 1000; i++)
		made_frame(&a, i, 1000);
	dir_put_segment(&d, 1, &a);
	dir_put_segment(&d, 1001, &b.bytes);
	CU_ASSERT_EQUAL(recover(&d, &all, NULL), 0);
	CU_ASSERT(all.n == 1 && found_is(&all, 0, SPOOL_FOUND_INDEX, 1, 0, 0));
	CU_ASSERT_EQUAL(sg_index_find(d.fd, 1, 1, sg_frame_seed(MAKE_ID), 500, &seq, &offset), 0);
	CU_ASSERT(seq > 400 && seq <= 500 && offset == 128 + (seq - 1) * 1032);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 0);
	CU_ASSERT_EQUAL(all.n, 0);
	/* Behind damage all offsets change, and the index with them. */
	a.p[200] ^= 1;
	dir_put_segment(&d, 1, &a);
	CU_ASSERT_EQUAL(recover(&d, &all, NULL), 1);
	CU_ASSERT_EQUAL(sg_index_find(d.fd, 1, 1, sg_frame_seed(MAKE_ID), 500, &seq, &offset), 0);
	CU_ASSERT(seq > 400 && seq <= 500 && offset == 128 + (seq - 2) * 1032);
	CU_ASSERT(verify(&d, &all, NULL) == 1 && all.n == 1 && found_cost(&all, 0, 1, 1, 1));
	made_free(&a);
	made_free(&b.bytes);
	dir_end(&d);
}

static void test_a_segment_gets_the_name_of_its_number(void)
{
	struct dir d = dir_begin();
	struct model a = model(1, 5, 0), b = model(6, 5, 0), c = model(11, 5, 0);
	struct spool_summary sum;
	struct found all;

	dir_put_segment(&d, 99, &a.bytes);
	dir_put_segment(&d, 6, &b.bytes);
	dir_put_segment(&d, 7, &c.bytes);
	dir_put_segment(&d, 11, &c.bytes);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 1);
	CU_ASSERT_EQUAL(recover(&d, &all, &sum), 1);
	CU_ASSERT(found_is(&all, 0, SPOOL_FOUND_HEADER, 7, 32, 8));
	CU_ASSERT(found_kept(&d, &all, 0, c.bytes.p, c.bytes.n));
	CU_ASSERT(found_is(&all, 1, SPOOL_FOUND_HEADER, 99, 32, 8) && !all.kept[1][0]);
	CU_ASSERT_EQUAL(sum.records, 15);
	CU_ASSERT(segment_is(&d, 1, &a.bytes) && segment_is(&d, 6, &b.bytes) &&
		  segment_is(&d, 11, &c.bytes));
	CU_ASSERT(settled(&d, 1, 0));
	made_free(&a.bytes);
	made_free(&b.bytes);
	made_free(&c.bytes);
	dir_end(&d);
}

/* Who goes by the number to know a record again would take a new one for the old one. */
static void test_the_number_of_a_lost_durable_record_never_comes_again(void)
{
	struct dir d = dir_begin();
	struct model m = model(1, 10, 0);
	uint8_t raw[SG_DURABLE_BYTES];
	struct spool *s = NULL;
	struct found all;
	uint64_t seq = 0;

	m.bytes.n -= 1;
	dir_put_segment(&d, 1, &m.bytes);
	sg_durable_write(raw, sg_frame_seed(MAKE_ID), 12, 14);
	dir_put(&d, "durable", raw, sizeof(raw));
	CU_ASSERT_EQUAL(recover(&d, &all, NULL), 1);
	CU_ASSERT(all.n == 1 && found_cost(&all, 0, 10, 12, 3));
	CU_ASSERT(settled(&d, 1, 1));
	CU_ASSERT_EQUAL_FATAL(spool_open(&s, d.path, NULL), 0);
	CU_ASSERT_EQUAL(spool_append(s, "new", 3, &seq), 0);
	CU_ASSERT_EQUAL(seq, 13);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 1);
	CU_ASSERT(found_cost(&all, all.n - 1, 10, 12, 3));
	made_free(&m.bytes);
	dir_end(&d);
}

struct consuming {
	const struct dir *d;
	uint64_t acked;
};

/* At the first finding a consumer reads and deletes what it can. */
static void consume(void *arg, const struct spool_finding *f)
{
	struct spool_reader_config config = SPOOL_READER_CONFIG_INIT;
	struct consuming *c = arg;
	struct spool_reader *reader;
	struct spool_record r;

	if (c->acked)
		return;
	config.consumer = "a";
	config.flags = SPOOL_READ_DELETE;
	CU_ASSERT_EQUAL_FATAL(spool_reader_open(&reader, c->d->path, &config), 0);
	while (spool_reader_next(reader, &r, 0) == 0)
		c->acked = r.seq;
	CU_ASSERT_EQUAL(spool_reader_ack(reader, c->acked), 0);
	CU_ASSERT_EQUAL(spool_reader_close(reader), 0);
}

static void test_segments_that_are_consumed_meanwhile_do_not_end_it(void)
{
	struct spool_check_config config = SPOOL_CHECK_CONFIG_INIT;
	struct dir d = dir_begin();
	struct consuming c = { .d = &d };
	struct spool_summary sum;
	struct model m;
	uint64_t first;

	for (first = 1; first <= 31; first += 10) {
		m = model(first, 10, 0);
		dir_put_segment(&d, first, &m.bytes);
		made_free(&m.bytes);
	}
	config.found = consume;
	config.arg = &c;
	CU_ASSERT_EQUAL(spool_recover(d.path, &config, &sum), 0);
	CU_ASSERT_EQUAL(c.acked, 30);
	CU_ASSERT_EQUAL(sum.last_seq, 40);
	CU_ASSERT_EQUAL(sum.missing_records, 0);
	dir_end(&d);
}

static void test_mode_of_a_file_stays(void)
{
	struct dir d = dir_begin();
	struct model m = model(1, 10, 0);
	struct stat st;
	struct found all;

	m.bytes.p[m.at[3]] ^= 1;
	dir_put_segment(&d, 1, &m.bytes);
	must(fchmodat(d.fd, "00000000000000000001.spool", 0604, 0) == 0, "chmod");
	CU_ASSERT_EQUAL(recover(&d, &all, NULL), 1);
	CU_ASSERT_EQUAL(fstatat(d.fd, "00000000000000000001.spool", &st, 0), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0604);
	made_free(&m.bytes);
	dir_end(&d);
}

/* ---- crashes and failures at every step ---- */

/* Recover in a child that is killed at its n-th change; false when it came to its end. */
static bool killed_at(const struct dir *d, long n, bool half)
{
	struct found all;
	int status;
	pid_t pid = fork();

	must(pid >= 0, "fork");
	if (pid == 0) {
		fault.at = n;
		fault.half = half;
		_exit(recover(d, &all, NULL) == 1 ? 0 : 1);
	}
	must(waitpid(pid, &status, 0) == pid, "waitpid");
	must(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 99), "child");
	return WEXITSTATUS(status) == 99;
}

static void test_killed_at_any_step_it_is_completed_by_the_next(void)
{
	struct dir d = dir_begin();
	unsigned int bad = 0;
	struct model m[4];
	struct found all;
	bool killed = true;
	long n;

	for (n = 1; killed; n++) {
		put_ruin(&d, m);
		killed = killed_at(&d, n, n % 2);
		if (killed) {
			/* Killed once more, then left alone. */
			killed_at(&d, 1 + n / 2, false);
			bad += recover(&d, &all, NULL) != 1;
		}
		if (!ruin_is_mended(&d, m) && !bad++)
			printf("# first wrong step: %ld\n", n);
		bad += dir_count(&d, "quarantine") < 4;
		model_free(m);
		fresh(&d);
	}
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT(n > 40);
	dir_end(&d);
}

static bool failing_at(const struct dir *d, long n, int error, bool from_then_on, int *got)
{
	struct found all;
	bool seen;

	fault.at = n;
	fault.seen = 0;
	fault.error = error;
	fault.from_then_on = from_then_on;
	fault.half = error == ENOSPC;
	*got = recover(d, &all, NULL);
	seen = fault.seen >= n;
	memset(&fault, 0, sizeof(fault));
	return seen;
}

/* Whatever fails: the error is told, no frame is lost, and the next recovery completes it. */
static void failures(int error, bool from_then_on)
{
	struct dir d = dir_begin();
	unsigned int bad = 0;
	struct model m[4];
	struct found all;
	bool failed = true;
	int got;
	long n;

	for (n = 1; failed; n++) {
		put_ruin(&d, m);
		failed = failing_at(&d, n, error, from_then_on, &got);
		if (failed && got != -error && !bad++)
			printf("# step %ld gave %d\n", n, got);
		bad += recover(&d, &all, NULL) != 1;
		if (!ruin_is_mended(&d, m) && !bad++)
			printf("# first wrong step: %ld\n", n);
		model_free(m);
		fresh(&d);
	}
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT(n > 40);
	dir_end(&d);
}

static void test_any_failing_step_is_told_and_completed_by_the_next(void)
{
	failures(EIO, false);
	failures(EIO, true);
	failures(ENOSPC, false);
	failures(ENOSPC, true);
}

static void test_no_space_leaves_everything_as_it_was(void)
{
	struct dir d = dir_begin();
	struct model m = model(1, 30, 0);
	unsigned int untouched = 0;
	struct found all;
	int got;
	long n;

	m.bytes.p[m.at[7]] ^= 1;
	dir_put_segment(&d, 1, &m.bytes);
	fault.free_blocks = 10;
	CU_ASSERT_EQUAL(recover(&d, &all, NULL), -ENOSPC);
	fault.free_blocks = 0;
	CU_ASSERT(segment_is(&d, 1, &m.bytes));
	CU_ASSERT_EQUAL(dir_count(&d, "quarantine"), 0);
	/* The count was wrong, and it is the write that fails. */
	for (n = 1;; n++) {
		fault.writes_only = true;
		if (!failing_at(&d, n, ENOSPC, false, &got))
			break;
		CU_ASSERT_EQUAL(got, -ENOSPC);
		/* Behind the segment there is only the index left to be written. */
		if (dir_count(&d, "quarantine") == 0)
			CU_ASSERT(segment_is(&d, 1, &m.bytes));
		untouched += dir_count(&d, "quarantine") == 0;
	}
	CU_ASSERT_EQUAL(untouched, 3); /* the header, the frames on both sides of the damage */
	CU_ASSERT_EQUAL(got, 1);
	CU_ASSERT_EQUAL(dir_count(&d, "quarantine"), 1);
	made_free(&m.bytes);
	dir_end(&d);
}

static void recover_watched(const struct dir *d)
{
	struct found all;

	memset(&watched, 0, sizeof(watched));
	watched.on = true;
	CU_ASSERT_EQUAL(recover(d, &all, NULL), 1);
	watched.on = false;
	CU_ASSERT_EQUAL(watched.early, 0);
	CU_ASSERT_EQUAL(watched.n, 0);
}

/* Nothing is cut, replaced or unlinked before what is kept of it is synced, and nothing is left unsynced at the end. */
static void test_everything_is_synced_before_what_depends_on_it(void)
{
	struct dir d = dir_begin();
	struct made junk = { 0 };
	struct model m[4];

	put_ruin(&d, m);
	recover_watched(&d);
	CU_ASSERT(watched.renames == 1 && watched.cuts == 2 && watched.drops == 1);
	/* Each kind of step alone, so that no later one syncs for it. */
	fresh(&d);
	m[0].bytes.p[m[0].at[4]] ^= 1;
	dir_put_segment(&d, 1, &m[0].bytes);
	recover_watched(&d);
	CU_ASSERT(watched.renames == 1 && watched.cuts == 0 && watched.drops == 0);
	fresh(&d);
	made_add(&junk, NULL, 100);
	dir_put_segment(&d, 1, &junk);
	recover_watched(&d);
	CU_ASSERT(watched.renames == 0 && watched.cuts == 0 && watched.drops == 1);
	fresh(&d);
	m[1].bytes.n--;
	dir_put_segment(&d, 11, &m[1].bytes);
	recover_watched(&d);
	CU_ASSERT(watched.renames == 0 && watched.cuts == 1 && watched.drops == 0);
	made_free(&junk);
	model_free(m);
	dir_end(&d);
}

/* ---- memory ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LARGE_MIB 32u
#define RSS_KIB	  (4u << 20) /* shadow memory: no bound worth the name */
#else
#define LARGE_MIB 256u
#define RSS_KIB	  32768u
#endif

static unsigned long peak_kib(void)
{
	unsigned long kib = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	must(f != NULL, "status");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %lu", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

/* One segment of so many MiB on a disk, records from small to 60 MB, one damage near the front, a torn tail. */
static uint64_t put_large(const struct dir *d, uint64_t bytes)
{
	struct made m = { 0 };
	int fd = openat(d->fd, "00000000000000000001.spool", O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	uint64_t at = 0, seq = 1;

	made_header(&m, MAKE_ID, 1, 0);
	while (at + m.n < bytes) {
		while (m.n < 1u << 20)
			made_frame(&m, seq, 100 + seq % 3000), seq++;
		if (at == 0)
			m.p[m.n / 2] ^= 1;
		if (at > bytes / 2 && at < bytes / 2 + (1u << 20))
			made_frame(&m, seq++, bytes > 128u << 20 ? 60000000 : 6000000);
		must(sg_pwrite_all(fd, m.p, m.n, at) == 0, "write");
		at += m.n;
		m.n = 0;
	}
	must(ftruncate(fd, (off_t)at - 3) == 0, "truncate");
	close(fd);
	made_free(&m);
	return seq;
}

static int in_little_memory(const struct dir *d)
{
	struct spool_summary sum;
	struct found all;
	unsigned long before = peak_kib();

	if (verify(d, &all, &sum) != 1 || all.n != 2)
		return 1;
	if (recover(d, &all, &sum) != 1 || all.n != 2 || all.v[0].kind != SPOOL_FOUND_DAMAGE ||
	    all.v[1].kind != SPOOL_FOUND_TORN)
		return 2;
	if (verify(d, &all, &sum) != 1 || all.n != 1 || all.v[0].kind != SPOOL_FOUND_GAP)
		return 3;
	printf("# %" PRIu64 " MiB: %lu KiB resident, %lu before\n", sum.bytes >> 20, peak_kib(),
	       before);
	fflush(stdout);
	return peak_kib() < RSS_KIB ? 0 : 4;
}

/* The bytes are made by one process, and checked by another, whose peak is then its own. FULL=1: 4 GiB. */
static void test_memory_stays_flat(void)
{
	struct dir d = { "/var/tmp/spoolguard-test.XXXXXX", -1 };
	const char *full = getenv("FULL");
	int status, round;
	pid_t pid;

	must(mkdtemp(d.path) != NULL, "mkdtemp");
	d.fd = sg_dir_open(d.path);
	for (round = 0; round < 2; round++) {
		pid = fork();
		must(pid >= 0, "fork");
		if (pid == 0 && round == 0) {
			put_large(&d, (uint64_t)(full ? 4096 : LARGE_MIB) << 20);
			_exit(0);
		}
		if (pid == 0)
			_exit(in_little_memory(&d));
		must(waitpid(pid, &status, 0) == pid, "waitpid");
		CU_ASSERT(WIFEXITED(status));
		CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
	}
	dir_end(&d);
}

SG_TESTS("recover", TEST(test_every_cut_of_100_records_leaves_what_is_whole),
	 TEST(test_every_cut_of_a_header_is_put_away),
	 TEST(test_every_flip_in_30_records_costs_its_record_only),
	 TEST(test_every_cut_before_zeros_with_damage_in_the_middle),
	 TEST(test_a_ruin_of_several_segments_is_mended),
	 TEST(test_dry_run_tells_the_same_and_touches_nothing),
	 TEST(test_recover_beside_a_writer_is_refused),
	 TEST(test_spool_without_any_identity_is_left_alone),
	 TEST(test_last_segment_without_header_and_frames_is_put_away),
	 TEST(test_indexes_are_rebuilt), TEST(test_a_segment_gets_the_name_of_its_number),
	 TEST(test_the_number_of_a_lost_durable_record_never_comes_again),
	 TEST(test_segments_that_are_consumed_meanwhile_do_not_end_it),
	 TEST(test_mode_of_a_file_stays), TEST(test_killed_at_any_step_it_is_completed_by_the_next),
	 TEST(test_any_failing_step_is_told_and_completed_by_the_next),
	 TEST(test_everything_is_synced_before_what_depends_on_it),
	 TEST(test_no_space_leaves_everything_as_it_was), TEST(test_memory_stays_flat))
