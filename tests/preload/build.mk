# Tests of the preload library: helper programs for the shell tests, which run them under it, and CUnit
# programs with the wrappers linked in (test_*.c), which sanitizers can watch.
#
# Static pattern rules throughout: of two implicit ones make takes the one whose prerequisites are there
# already, which is another one in a fresh clone.
PRELOAD_T := $(O)/tests/preload
PRELOAD_STRANGERS := $(addprefix $(PRELOAD_T)/,calls family quiet small speed)
PRELOAD_LINKED    := $(addprefix $(PRELOAD_T)/,verdict drains)
PRELOAD_LIBS      := $(addprefix $(PRELOAD_T)/,early.so nosync.so)
TEST_HELPERS += $(PRELOAD_STRANGERS) $(PRELOAD_LINKED) $(PRELOAD_LIBS) \
	$(addprefix $(PRELOAD_T)/,early small-musl small-static)

PRELOAD_UNIT_SRC := $(wildcard tests/preload/test_*.c)
UNIT_BIN += $(PRELOAD_UNIT_SRC:%.c=$(O)/%)
PRELOAD_STATIC := $(PRELOAD_SRC:%.c=$(O)/%.o) $(O)/libguard.a

$(PRELOAD_UNIT_SRC:%.c=$(O)/%): %: %.o $(PRELOAD_STATIC)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $^ -lcunit -lpthread
$(PRELOAD_LINKED): %: %.o $(PRELOAD_STATIC)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $^ -lpthread

# A program of the tests is built as a stranger's would be: without anything of ours.
STRANGER := $(CC) -std=gnu11 $(WARN) -Wno-missing-prototypes -D_GNU_SOURCE -O1 -g
$(PRELOAD_STRANGERS): $(O)/%: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(STRANGER) -MMD -MP -MF $@.d -MT $@ -o $@ $< -lpthread
$(PRELOAD_LIBS): $(O)/%.so: %.c
	@mkdir -p $(@D)
	$(call say,LD,$@)$(STRANGER) -shared -fPIC -Wl,-soname,$(@F) -o $@ $<
$(PRELOAD_T)/early: tests/preload/early.c $(PRELOAD_T)/early.so
	$(call say,LD,$@)$(STRANGER) -DMAIN -o $@ $^ -Wl,-rpath,'$$ORIGIN'
$(PRELOAD_T)/small-musl $(PRELOAD_T)/small-static: tests/preload/small.c
	@mkdir -p $(@D)
	$(call say,MUSL,$@)musl-gcc -std=gnu11 -D_GNU_SOURCE -O1 $(if $(findstring static,$@),-static) -o $@ $<
