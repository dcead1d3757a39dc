/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* What the files of user/observe share. */
#ifndef SG_OBSERVE_INTERNAL_H
#define SG_OBSERVE_INTERNAL_H

#include "observe.h"

struct bpf_link;
struct spoolguard_bpf;

enum sg_map {
	SG_MAP_FILES,
	SG_MAP_PATHS,
	SG_MAP_STATS,
	SG_MAP_ERRORS,
	SG_MAP_SYNCS,
	SG_MAP_INFLIGHT,
	SG_MAP_DEVICES,
	SG_MAP_REQUESTS,
	SG_MAP_WB_ERRORS,
	SG_MAP_FILTER_TGIDS,
	SG_MAP_FILTER_CGROUPS,
	SG_MAP_FILTER_DEVS,
	SG_MAP_DROPS,
	SG_MAP_CONFIG,
	SG_MAP_OWNER,
	SG_MAPS
};

/* Names of the maps in the object and of their pins, and the sizes that this build expects. */
struct sg_map_desc {
	const char *name;
	__u32 key_size;
	__u32 value_size;
};

extern const struct sg_map_desc sg_map_desc[SG_MAPS];

#define SG_LINKS_MAX 40

struct sg_observe {
	int fd[SG_MAPS];
	struct spoolguard_bpf *skel; /* NULL when opened by pins */
	struct bpf_link *link[SG_LINKS_MAX];
	const char *link_name[SG_LINKS_MAX];
	size_t links;
	bool pinned;
	char pin_dir[256];
	char pin_note[SG_OBSERVE_TEXT_MAX];
	char *path_glob;
};

/* --- attach.c --- */

/* Load and attach one tier into o: fd[], skel, link[]. Appends to the probe text when it fails. */
int sg_attach_tier(struct sg_observe *o, const struct sg_observe_options *options,
		   enum sg_tier tier, __u32 *hooks);
void sg_attach_undo(struct sg_observe *o);
void sg_probe_text_clear(void);
void sg_probe_text_add(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- observe.c --- */

/* Fill in what must be there before the first event: settings, and the entries of "other". */
int sg_maps_prepare(const struct sg_observe *o, const struct sg_observe_options *options);

/* --- pin.c --- */

/* Find or make the pin directory and lock it; fills dir and note. 0, or -errno: no pins are possible. */
int sg_pin_lock(const char *pin_dir, char dir[256], char *note, int *lock_fd);
void sg_pin_unlock(int lock_fd);
/* The pin directory to look into, without making anything. */
int sg_pin_find(const char *pin_dir, char dir[256]);
int sg_pin_all(struct sg_observe *o);
int sg_pin_open(struct sg_observe *o, const char *dir);
/* Remove the pins; and also the directory, and the mount if it is ours. */
int sg_pin_clear(const char *dir);
int sg_pin_remove_all(const char *dir);

/* --- path.c --- */

/* The mounts of this process, read once per listing. */
struct sg_mounts;
struct sg_mounts *sg_mounts_read(void);
void sg_mounts_free(struct sg_mounts *m);
enum sg_path_state sg_path_make(const struct sg_mounts *m, const struct sg_path *p,
				const struct sg_file_key *key, char *out, size_t size);

/* --- read.c --- */

/* All entries of a map at once. *keys and *values are the caller's to free. */
int sg_map_snapshot(int fd, const struct sg_map_desc *d, void **keys, void **values, __u32 *n);

#endif
