// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard feature probe: what is to be had on this machine, found out by trying. */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <mntent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "broker/broker.h"
#include "cli/cli.h"
#include "cli/kernel.h"
#include "cli/program.h"
#include "guard/identity.h"

#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif

enum state { YES, NO, PART };

struct features {
	json_t *list; /* [{name, state, detail}], in order */
};

static void tell(struct features *f, const char *name, enum state state, const char *detail)
{
	static const char *const names[] = { "yes", "no", "partly" };

	json_array_append_new(
		f->list, json_pack("{ss ss so}", "name", name, "available", names[state], "detail",
				   detail && *detail ? cli_json_str(detail) : json_null()));
}

static void probe_kernel(struct features *f)
{
	struct utsname u;
	char buf[300], byte;
	int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
	bool btf = fd >= 0 && read(fd, &byte, 1) == 1;

	if (fd >= 0)
		close(fd);
	uname(&u);
	snprintf(buf, sizeof(buf), "%s %s %s", u.sysname, u.release, u.machine);
	tell(f, "kernel", YES, buf);
	tell(f, "btf", btf ? YES : NO,
	     btf ? "/sys/kernel/btf/vmlinux"
		 : "/sys/kernel/btf/vmlinux is missing or empty: no observer");
}

static void probe_bpffs(struct features *f)
{
	struct statfs fs;

	if (statfs("/sys/fs/bpf", &fs) || (uint32_t)fs.f_type != BPF_FS_MAGIC)
		tell(f, "bpffs", PART,
		     "/sys/fs/bpf is no BPF file system; the observer mounts its own in "
		     "/run/spoolguard");
	else
		tell(f, "bpffs", YES, "/sys/fs/bpf");
}

static void probe_tiers(struct features *f)
{
	struct kernel_tier tiers[KERNEL_TIERS];
	char name[48];
	int i;

	memset(tiers, 0, sizeof(tiers));
	kernel_probe(tiers);
	for (i = 0; i < KERNEL_TIERS; i++) {
		snprintf(name, sizeof(name), "observer tier %s", tiers[i].name);
		tell(f, name, tiers[i].works ? YES : NO, tiers[i].why);
	}
}

/* One that runs now tells, sentence by sentence, what its tier cannot see. */
static void probe_running(struct features *f)
{
	char buf[128], *sentence, *rest;
	struct kernel_view *k;

	if (kernel_open(&k)) {
		tell(f, "observer running", NO, NULL);
		return;
	}
	snprintf(buf, sizeof(buf), "tier %s, pid %u", k->tier, k->owner_pid);
	tell(f, "observer running", YES, buf);
	for (sentence = strtok_r(k->blind, "\n", &rest); sentence;
	     sentence = strtok_r(NULL, "\n", &rest))
		tell(f, "what it sees", PART, sentence);
	kernel_free(k);
}

static void probe_preload(struct features *f)
{
	char path[PATH_MAX], looked[2 * PATH_MAX + 256];

	if (program_preload(path, looked, sizeof(looked)))
		tell(f, "preload library", NO, looked);
	else
		tell(f, "preload library", YES, path);
}

/* The directory is made by the first broker: until then its parent has to be writable. */
static void probe_sessions(struct features *f)
{
	char dir[PATH_MAX], parent[PATH_MAX], detail[PATH_MAX + 128], *slash;
	bool ok;

	if (sg_broker_dir(dir, sizeof(dir))) {
		tell(f, "session directory", NO, "its path is too long");
		return;
	}
	strcpy(parent, dir);
	slash = strrchr(parent, '/');
	if (access(dir, F_OK) && slash && slash != parent)
		*slash = 0;
	ok = !access(parent, W_OK | X_OK);
	snprintf(detail, sizeof(detail), "%s%s%s", dir, ok ? "" : ": ", ok ? "" : strerror(errno));
	tell(f, "session directory", ok ? YES : NO, detail);
}

static void probe_seccomp(struct features *f)
{
	uint32_t action = SECCOMP_RET_USER_NOTIF;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action))
		tell(f, "seccomp user notification", NO, strerror(errno));
	else
		tell(f, "seccomp user notification", YES, "for static and Go programs, later");
}

static void probe_module(struct features *f)
{
	if (access("/dev/spoolguard", F_OK))
		tell(f, "kernel module", NO,
		     "/dev/spoolguard is not there; all works without it, with less reach");
	else
		tell(f, "kernel module", YES, "/dev/spoolguard");
}

static bool is_pseudo(const char *type)
{
	static const char *const pseudo[] = { "proc",	  "sysfs",    "cgroup",	   "cgroup2",
					      "devpts",	  "devtmpfs", "mqueue",	   "securityfs",
					      "debugfs",  "tracefs",  "bpf",	   "pstore",
					      "configfs", "fusectl",  "autofs",	   "binfmt_misc",
					      "efivarfs", "nsfs",     "hugetlbfs", "rpc_pipefs",
					      "selinuxfs" };
	unsigned int i;

	for (i = 0; i < sizeof(pseudo) / sizeof(pseudo[0]); i++)
		if (!strcmp(type, pseudo[i]))
			return true;
	return false;
}

/* Mount options know what the type alone does not tell. */
static const char *verdict_of(const struct mntent *m)
{
	int fd = open(m->mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	const char *name;

	if (fd < 0)
		return "unknown";
	name = sg_verdict_name(sg_identity_verdict(fd));
	close(fd);
	if (hasmntopt(m, "nobarrier") || hasmntopt(m, "barrier=0"))
		name = sg_verdict_name(SG_VERDICT_NOBARRIER);
	else if (!strcmp(m->mnt_type, "overlay") && hasmntopt(m, "volatile"))
		name = "void (overlay mounted volatile)";
	return name;
}

static json_t *probe_mounts(void)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	json_t *list = json_array();
	struct mntent *m;

	while (f && (m = getmntent(f)))
		if (!is_pseudo(m->mnt_type))
			json_array_append_new(list, json_pack("{so so ss}", "mount",
							      cli_json_str(m->mnt_dir), "type",
							      cli_json_str(m->mnt_type),
							      "syncs_are", verdict_of(m)));
	if (f)
		endmntent(f);
	return list;
}

static void print_table(json_t *list, const char *const keys[3], const char *const titles[3])
{
	struct cli_table *t = cli_table_new();
	const char *v;
	json_t *o;
	size_t i, k;

	for (k = 0; k < 3; k++)
		cli_table_column(t, titles[k], CLI_LEFT);
	json_array_foreach (list, i, o) {
		cli_table_line(t);
		for (k = 0; k < 3; k++) {
			v = json_string_value(json_object_get(o, keys[k]));
			cli_table_text(t, v ? v : "");
		}
	}
	cli_table_print(t, stdout);
}

static int do_probe(const struct cli_args *a)
{
	static const char *const fkeys[] = { "name", "available", "detail" };
	static const char *const ftitles[] = { "FEATURE", "HERE", "DETAIL" };
	static const char *const mkeys[] = { "mount", "type", "syncs_are" };
	static const char *const mtitles[] = { "MOUNT", "TYPE", "SYNCS ARE" };
	struct features f = { .list = json_array() };
	json_t *mounts;

	probe_kernel(&f);
	probe_bpffs(&f);
	probe_tiers(&f);
	probe_running(&f);
	probe_preload(&f);
	probe_sessions(&f);
	probe_seccomp(&f);
	probe_module(&f);
	mounts = probe_mounts();
	if (cli.json)
		return cli_json(json_pack("{so so}", "features", f.list, "mounts", mounts));
	print_table(f.list, fkeys, ftitles);
	putchar('\n');
	print_table(mounts, mkeys, mtitles);
	json_decref(f.list);
	json_decref(mounts);
	return CLI_OK;
}

static const struct cli_command commands[] = {
	{ .name = "probe",
	  .help = "try everything that this machine may or may not have",
	  .is_default = true,
	  .run = do_probe },
	{ .run = NULL },
};
const struct cli_object cli_feature = { "feature", "what is to be had on this machine", commands };
