// SPDX-License-Identifier: GPL-2.0-only
/*
 * The observer: every write and sync per file, block requests per device, and writeback errors.
 *
 * One object holds the programs of all tiers; user space (user/observe) loads those of one. Each
 * header below is one idea; they are headers because they share maps and inline helpers.
 */
#include "core_types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <asm/unistd_64.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>

#include "observe_abi.h"
#include "maps.bpf.h"
#include "file.bpf.h"
#include "ops.bpf.h"
#include "event.bpf.h"
#include "vfs.bpf.h"
#include "async.bpf.h"
#include "syscalls.bpf.h"
#include "pagecache.bpf.h"
#include "block.bpf.h"

char LICENSE[] SEC("license") = "GPL";
