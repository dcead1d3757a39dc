// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* sg-buckets: do the kernel side's histogram and the guard's put every duration into the same bucket? */
#include <stdio.h>

#include "guard/hist.h"
#include "observe_abi.h"

static int check(__u64 ns)
{
	__u32 i = sg_bucket(ns);

	if (i == sg_hist_bucket(ns) && i < SG_BUCKETS && sg_bucket_low_ns(i) <= ns)
		return 0;
	printf("# %llu ns: %u here, %u in the guard, from %llu ns\n", ns, i, sg_hist_bucket(ns),
	       sg_bucket_low_ns(i));
	return 1;
}

int main(void)
{
	unsigned int bad = SG_BUCKETS != SG_HIST_BUCKETS, shift, i;
	__u64 ns;

	for (ns = 0; ns < 1 << 20; ns++)
		bad += check(ns);
	for (shift = 10; shift < 64; shift++)
		for (i = 0; i < 64; i++) {
			ns = (1ULL << shift) + i * ((1ULL << shift) / 64);
			bad += check(ns) + check(ns - 1);
		}
	printf("%sok 1 - buckets_of_observer_and_guard_are_the_same\n1..1\n", bad ? "not " : "");
	return bad != 0;
}
