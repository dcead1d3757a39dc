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

/* Which observer's pins these are: the "users" directory among them. */
struct sg_pin_id {
	dev_t dev;
	ino_t ino;
};

struct sg_observe {
	int fd[SG_MAPS];
	int users_fd; /* held locked as long as we use a pinned one; -1: we only look */
	struct sg_pin_id id;
	bool used;		     /* by anybody, when it was opened */
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

enum sg_pin_access {
	SG_PIN_READ,   /* shared with other readers */
	SG_PIN_CHANGE, /* alone */
	SG_PIN_MAKE,   /* alone; the directory, and the mount where it is ours, are made first */
};

struct sg_pin_lock {
	int own_fd; /* around a mount of our own, else -1 */
	int dir_fd; /* the pin directory */
};

/* The pin directory to look into, without making anything. */
int sg_pin_dir(const char *pin_dir, char dir[256]);
/* -ENOENT: none is there; with SG_PIN_MAKE any error says that no pins are possible. */
int sg_pin_lock(const char *dir, enum sg_pin_access access, struct sg_pin_lock *lock);
void sg_pin_unlock(struct sg_pin_lock *lock);
/* What to tell of a place that is not the usual one, or of the error rc. */
void sg_pin_note(const char *dir, int rc, char note[SG_OBSERVE_TEXT_MAX]);

/* All below are called with the lock held. */

/* A descriptor of the users of what is pinned, and which they are; or -errno. */
int sg_pin_users(const struct sg_pin_lock *lock, struct sg_pin_id *id);
int sg_pin_use(int users_fd);
/* Is there a living user beside the one that holds this descriptor? */
bool sg_pin_used(int users_fd);
/* Are the pins still those of this observer? */
bool sg_pin_is(const struct sg_pin_lock *lock, const struct sg_pin_id *id);

/* Pin all, as its first user. */
int sg_pin_all(struct sg_observe *o, const struct sg_pin_lock *lock);
int sg_pin_open(struct sg_observe *o, const char *dir);
/* Remove the pins; and also the directory, and the mount if it is ours. */
void sg_pin_clear(const struct sg_pin_lock *lock);
int sg_pin_remove(const char *dir, struct sg_pin_lock *lock);

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
