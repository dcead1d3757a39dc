# The library that goes under a program: position-independent, libc only, nothing exported but the
# wrapped symbols, no fortify (its __*_chk calls do not exist in musl), TLS that needs no allocation.
PRELOAD_SRC := $(wildcard user/preload/*.c)
PRELOAD_OBJ := $(PRELOAD_SRC:%.c=$(O)/pic/%.o) $(GUARD_SRC:%.c=$(O)/pic/%.o)
PRELOAD_CFLAGS := -fPIC -fvisibility=hidden -ftls-model=initial-exec -U_FORTIFY_SOURCE \
	-D_FORTIFY_SOURCE=0 -fno-stack-protector -fexceptions -ffunction-sections

$(O)/libspoolguard-preload.so: $(PRELOAD_OBJ)
	$(call say,LD,$@)$(CC) $(CFLAGS) -shared -Wl,-z,defs -Wl,-z,now -Wl,-z,nodelete -Wl,--gc-sections \
		-Wl,-soname,libspoolguard-preload.so -o $@ $^
ALL += $(O)/libspoolguard-preload.so
