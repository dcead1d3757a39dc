# The spool library: CUnit programs (test_*.c, one per promise), run plain and under both sanitizers; shell tests
# (test_*.sh) run the command. What both need is made here.
SPOOL_TEST_SRC := $(wildcard tests/spool/test_*.c)
SPOOL_TEST_BIN := $(SPOOL_TEST_SRC:%.c=$(O)/%)
UNIT_BIN       += $(SPOOL_TEST_BIN)

$(O)/tests/spool/test_%: $(O)/tests/spool/test_%.o $(O)/libspool.a $(O)/libguard.a
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $< $(OBJ_test_$*) $(O)/libspool.a $(O)/libguard.a -lisal -lcunit -lpthread
