// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * The process: constructor, destructor, ends, and children that share our memory.
 *
 * A vfork child has descriptors of its own and its parent's memory. What it closes, duplicates or opens
 * between vfork and exec must not reach the guard's tables: they tell of the parent's descriptors. It
 * has the parent's thread state too, so only the kernel knows who it is. To spare everybody else that
 * question, vfork and clone leave a mark when they are first called.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "preload/preload.h"

#define DEFAULT_CONF "/etc/spoolguard/spoolguard.conf"

/* --- children that share our memory --- */

/* The process that this memory is of. The page is wiped in a fork child, and not in a vfork child. */
static _Atomic pid_t *owner;

static pid_t kernel_pid(void)
{
	return (pid_t)syscall(SYS_getpid);
}

static void owner_init(void)
{
	void *page = (void *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	if (madvise(page, 4096, MADV_WIPEONFORK) != 0) {
		/* Before Linux 4.14. A fork child could not be told from a vfork child: do not try. */
		munmap(page, 4096);
		return;
	}
	owner = page;
	atomic_store(owner, kernel_pid());
}

bool sg_in_shared_child(void)
{
	pid_t pid, mine;

	if (!owner)
		return false;
	pid = kernel_pid();
	mine = atomic_load(owner);
	if (mine == 0) {
		atomic_store(owner, pid);
		return false;
	}
	return mine != pid;
}

#if defined(__x86_64__)
_Atomic unsigned char sg_shared_child;

/* vfork returns twice on one stack, so its wrapper has no frame: it leaves the mark and jumps on. */
__attribute__((visibility("hidden"))) void *sg_next_vfork;
__attribute__((visibility("hidden"))) void sg_find_vfork(void);
void sg_find_vfork(void)
{
	sg_next_vfork = sg_next_find("vfork");
}

__asm__(".text\n"
	".globl vfork, __vfork\n"
	".type vfork, @function\n"
	".type __vfork, @function\n"
	".p2align 4\n"
	"vfork:\n"
	"__vfork:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	movb	$1, sg_shared_child(%rip)\n"
	"	cmpq	$0, sg_next_vfork(%rip)\n"
	"	jne	1f\n"
	"	subq	$8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call	sg_find_vfork\n"
	"	addq	$8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"1:	jmp	*sg_next_vfork(%rip)\n"
	"	.cfi_endproc\n"
	".size vfork, . - vfork\n"
	".size __vfork, . - __vfork\n");
#else
/* No thunk for this machine yet: always ask the kernel. */
_Atomic unsigned char sg_shared_child = 1;
#endif

static int (*next_clone)(int (*)(void *), void *, int, void *, ...);

EXPORT int clone(int (*run)(void *), void *stack, int flags, void *arg, ...)
{
	pid_t *parent_tid, *child_tid;
	void *tls;
	va_list ap;

	va_start(ap, arg);
	parent_tid = va_arg(ap, pid_t *);
	tls = va_arg(ap, void *);
	child_tid = va_arg(ap, pid_t *);
	va_end(ap);
	if ((flags & CLONE_VM) && !(flags & CLONE_THREAD))
		atomic_store_explicit(&sg_shared_child, 1, memory_order_relaxed);
	if (!next_clone)
		next_clone = sg_next_find("clone");
	if (!next_clone) {
		errno = ENOSYS;
		return -1;
	}
	return next_clone(run, stack, flags, arg, parent_tid, tls, child_tid);
}

/* --- what we have to say --- */

static struct {
	bool open;
	dev_t dev;
	ino_t ino;
	unsigned int kinds[16]; /* hashes of what was said */
} said;

/* A message's kind is its text up to the first digit or quote: those tell which file, line or number. */
static unsigned int kind_of(const char *message)
{
	unsigned int hash = 5381;

	for (; *message && !strchr("0123456789\"", *message); message++)
		hash = hash * 33 + (unsigned char)*message;
	return hash ? hash : 1;
}

static bool said_before(unsigned int kind)
{
	size_t i;

	for (i = 0; i < sizeof(said.kinds) / sizeof(said.kinds[0]); i++) {
		if (said.kinds[i] == kind)
			return true;
		if (said.kinds[i])
			continue;
		said.kinds[i] = kind;
		return false;
	}
	return true;
}

/*
 * What a parent has said, its children need not say again: a script of 200 commands would say it 200
 * times. They find the kinds in the environment.
 */
#define SAID "SPOOLGUARD_SAID"

/* By hand: glibc renames strtoul with every C standard, and musl does not follow. */
static void said_by_parent(void)
{
	static const char digits[] = "0123456789abcdef";
	const char *list = getenv(SAID), *digit;
	unsigned int kind = 0;

	for (; list && *list; list++) {
		digit = strchr(digits, *list);
		kind = digit ? kind * 16 + (unsigned int)(digit - digits) : 0;
		if (kind && (list[1] == ',' || !list[1]))
			said_before(kind);
	}
}

static void say_to_children(void)
{
	char list[sizeof(said.kinds) / sizeof(said.kinds[0]) * 9 + 1];
	size_t i, n = 0;

	for (i = 0; i < sizeof(said.kinds) / sizeof(said.kinds[0]) && said.kinds[i]; i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%x", n ? "," : "",
				      said.kinds[i]);
	if (n)
		setenv(SAID, list, 1);
}

static void say(const char *message)
{
	struct iovec line[3] = { { "spoolguard: ", 12 },
				 { (char *)message, strlen(message) },
				 { "\n", 1 } };
	int saved = errno;
	struct stat st;

	/* By now 2 may be a file of the program's that has nothing to do with messages. */
	if (said.open && fstat(2, &st) == 0 && st.st_dev == said.dev && st.st_ino == said.ino &&
	    !said_before(kind_of(message)))
		syscall(SYS_writev, 2, line, 3);
	errno = saved;
}

static void say_init(void)
{
	struct stat st;

	said.open = fstat(2, &st) == 0;
	said.dev = st.st_dev;
	said.ino = st.st_ino;
}

/* --- begin and end --- */

/* The environment may be written over (setproctitle, putenv), and the guard keeps what it is given. */
static const char *setting(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? strdup(value) : NULL;
}

static const char *policy_file(void)
{
	const char *file = setting("SPOOLGUARD_CONF");

	if (!file && access(DEFAULT_CONF, F_OK) == 0)
		file = DEFAULT_CONF;
	return file;
}

static bool disabled(void)
{
	const char *value = getenv("SPOOLGUARD_DISABLE");

	/* A setuid program loads us only where the administrator put us among the trusted libraries;
	 * its environment is its caller's, and we take no orders from there. */
	return getauxval(AT_SECURE) || (value && strcmp(value, "1") == 0);
}

__attribute__((constructor)) static void preload_begin(void)
{
	static struct sg_guard_config config = { .say = say };
	int saved = errno;

	sg_next_resolve();
#if defined(__x86_64__)
	sg_find_vfork();
#endif
	next_clone = sg_next_find("clone");
	owner_init();
	say_init();
	if (!disabled()) {
		config.policy = setting("SPOOLGUARD_POLICY");
		config.policy_file = policy_file();
		config.broker = setting("SPOOLGUARD_BROKER");
		config.interposed = sg_next_interposed();
		said_by_parent();
		sg_guard_init(&config);
		say_to_children();
	}
	errno = saved;
}

static void end(void)
{
	int saved = errno;

	if (active())
		sg_guard_exit();
	errno = saved;
}

__attribute__((destructor)) static void preload_end(void)
{
	end();
}

#define SG_EXIT(ret, symbol, params, args, facts, ...) \
	WRAPPER(ret, symbol, params)                   \
	{                                              \
		end();                                 \
		sg_next.symbol args;                   \
		__builtin_unreachable();               \
	}
#include "preload/symbols.def"
